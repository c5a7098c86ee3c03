/** A kernel that never ends: one line, exit status 2, a process that is gone, and nothing half-written. */
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { GpuTimeoutError } from "../../src/engine/errors.ts";
import { expectRefused, faultline } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-endless-"));
const source = readFileSync(join(import.meta.dirname, "../../kernels/add.wgsl"), "utf8");
const SUM = "if (i < size.count) { y[i] = a[i] + b[i]; }";

/** A folder with an `add` that does this instead. */
function adding(body: string): string {
  expect(source).toContain(SUM);
  const dir = mkdtempSync(join(folder, "kernels-"));
  writeFileSync(
    join(dir, "add.wgsl"),
    source.replace(SUM, () => body),
  );
  return dir;
}

const endless = adding(
  "loop { if (size.count == 0u) { break; } if (i < size.count) { y[i] = 0.5 * y[i] + a[i] + b[i]; } }",
);
const mine = join(endless, "add.wgsl");
const page = join(folder, "page.md");
const history = join(folder, "history.arrow");
const bindings = join(folder, "add.json");
const place = { "0": { uniform: ["count: u32"] }, "1": "a", "2": "b", "3": "y" };
writeFileSync(
  bindings,
  JSON.stringify({ entry: "add", workgroups: ["ceil(count / 8)"], bindings: place, overrides: { WIDTH: 8 } }),
);

const ONE = ["--filter", "add 3x31 normal f32", "--no-onnx", "--limit", "2", "--summary", page];
const NAMED = /add\.wgsl: at add 3x31 normal f32: did not end within 2 s; look for a loop .* longer with --limit$/;

describe("a kernel that never ends", () => {
  it.each([
    ["in the place of this program's", ["--wgsl", mine, "--as", "add", "--save", history]],
    ["as its description calls it", ["--wgsl", mine, "--as", "add", "--bindings", bindings]],
    ["from a folder", ["--kernels", endless]],
    ["of another version", ["--against-kernels", endless]],
  ])(
    "%s is named with its case",
    (_name, options) => {
      expectRefused(["kernels", ...ONE, ...options], NAMED);
      expect([existsSync(page), existsSync(history), existsSync(`${history}.partial`)]).toEqual([false, false, false]);
    },
    60_000,
  );

  it("is named where a whole model runs it", () => {
    expectRefused(
      ["kernels", "embedded", "--against-kernels", endless, "-n", "0", "--limit", "2", "--summary", page],
      /add\.wgsl: at a step of faultline-tiny-f16\.gguf: did not end within 2 s; .*kernels --kernels .*--limit$/,
    );
    expect(existsSync(page)).toBe(false);
  }, 60_000);
});

it("a kernel that takes seconds is tried as any other, and refused where the limit is less", () => {
  const hash = "h ^= h << 13u; h ^= h >> 17u; h ^= h << 5u;";
  const slow = adding(
    `if (i < size.count) { var h = i + 1u; for (var k = 0u; k < 1000000000u; k++) { ${hash} } y[i] = a[i] + b[i] + select(0.0, 1.0, h == 0u); }`,
  );
  const run = ["kernels", "--kernels", slow, "--filter", "add 1x1 normal f32", "--no-onnx", "--no-time"];
  const { status, stdout } = faultline(...run);
  expect([status, stdout.split(":")[0]]).toEqual([0, "pass"]);
  expectRefused([...run, "--limit", "1"], /add\.wgsl: at add 1x1 normal f32: did not end within 1 s/);
}, 120_000);

it("compiling does not count", () => {
  // What the driver keeps from earlier runs would make it quick.
  vi.stubEnv("MESA_SHADER_CACHE_DISABLE", "true");
  const lines = Array.from({ length: 60 }, (_, k) => `if (a[${k}] > s) { s = sin(s) * b[${k}u % i] + exp(s); }`);
  const long = adding(`if (size.count == 0u) { var s = a[i]; ${lines.join(" ")} y[0] = s; } ${SUM}`);
  const run = ["kernels", "--kernels", long, "--filter", "add 1x1 normal f32", "--no-onnx", "--no-time"];
  const { status, stderr } = faultline(...run, "--limit", "1");
  vi.unstubAllEnvs();
  expect(status, stderr).toBe(0);
}, 120_000);

it("the error says what ran, for how long, and what to do", () => {
  expect(new GpuTimeoutError(60, "mine.wgsl: at a case").message).toBe(
    "mine.wgsl: at a case: did not end within 60 s; look for a loop that never ends, or let it run longer with --limit",
  );
});
