import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { hasVulkanDriver } from "../../src/engine/vulkan-drivers.ts";

it("finds a driver's manifest where the Vulkan loader looks, and nowhere else", () => {
  const folder = mkdtempSync(join(tmpdir(), "faultline-icd-"));
  const data = join(folder, "share");
  mkdirSync(join(data, "vulkan/icd.d"), { recursive: true });
  const manifest = join(data, "vulkan/icd.d/some_icd.json");
  // VK_DRIVER_FILES replaces the search, present or not.
  expect(hasVulkanDriver({ VK_DRIVER_FILES: "/nonexistent/a.json" })).toBe(false);
  expect(hasVulkanDriver({ VK_ICD_FILENAMES: `/nonexistent/a.json:${join(folder, "none")}` })).toBe(false);
  writeFileSync(manifest, "{}");
  expect(hasVulkanDriver({ VK_DRIVER_FILES: manifest })).toBe(true);
  expect(hasVulkanDriver({ XDG_DATA_DIRS: data, XDG_CONFIG_DIRS: folder })).toBe(true);
  expect(hasVulkanDriver({ VK_DRIVER_FILES: join(data, "vulkan/icd.d") })).toBe(true);
});
