/**
 * Whether any Vulkan driver is installed, by the Vulkan loader's own search order. Without one Dawn prints its native stack to
 * standard error before it says that there is no adapter; so it is not asked.
 */
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** True where a driver manifest exists, and on systems that do not keep them in files. */
export function hasVulkanDriver(env: NodeJS.ProcessEnv = process.env): boolean {
  if (process.platform !== "linux") return true;
  const list = (value: string | undefined, fallback = "") =>
    (value || fallback).split(":").filter((part) => part !== "");
  const only = list(env.VK_DRIVER_FILES ?? env.VK_ICD_FILENAMES);
  if (only.length > 0) return only.some(hasManifest);
  const folders = [
    ...list(env.XDG_CONFIG_HOME, join(homedir(), ".config")),
    ...list(env.XDG_CONFIG_DIRS, "/etc/xdg"),
    "/etc",
    ...list(env.XDG_DATA_HOME, join(homedir(), ".local/share")),
    ...list(env.XDG_DATA_DIRS, "/usr/local/share:/usr/share"),
  ];
  return [...list(env.VK_ADD_DRIVER_FILES), ...folders.map((folder) => join(folder, "vulkan/icd.d"))].some(hasManifest);
}

/** A manifest, or a folder with one. */
function hasManifest(path: string): boolean {
  if (!existsSync(path)) return false;
  if (path.endsWith(".json")) return true;
  return readdirSync(path).some((file) => file.endsWith(".json"));
}
