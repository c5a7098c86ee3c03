/** Every kernel is valid WGSL as it stands: compiled alone by Dawn's null backend, which needs no GPU. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { KERNELS } from "../src/engine/kernels.ts";

const root = join(import.meta.dirname, "..");

/** In a process of its own: the null backend stays away from the tests that compute. */
const COMPILE = `
import { create } from "webgpu";
import { readFileSync } from "node:fs";
globalThis.gpu = create(["backend=null"]);
const device = await (await globalThis.gpu.requestAdapter()).requestDevice({ requiredFeatures: ["subgroups"] });
const problems = {};
for (const file of JSON.parse(process.argv[1])) {
  device.pushErrorScope("validation");
  const code = file.split("+").map((each) => readFileSync(each, "utf8")).join("");
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const error = await device.popErrorScope();
  problems[file] = [...messages.map((each) => each.lineNum + ": " + each.message), ...(error ? [error.message] : [])];
}
process.stdout.write(JSON.stringify(problems));
process.exit(0);`;

function compile(files: readonly string[]): Record<string, string[]> {
  const args = ["--input-type=module", "-e", COMPILE, JSON.stringify(files)];
  const { stdout } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" });
  return JSON.parse(stdout) as Record<string, string[]>;
}

/** What a kernel's file is compiled with: itself, and the file of the kernel whose declarations it uses. */
const parts = Object.values(KERNELS).map((kernel) =>
  [kernel.file, ...("uses" in kernel ? [KERNELS[kernel.uses].file] : [])].map((file) => `kernels/${file}`).join("+"),
);

it("compiles", () => {
  const kernels = [...new Set(parts)];
  expect(compile(kernels)).toEqual(Object.fromEntries(kernels.map((each) => [each, []])));
});

it("the exp of softmax and of swiglu is one text", () => {
  const body = (file: string) => /fn exponential[^}]*}/.exec(readFileSync(join(root, "kernels", file), "utf8"))?.[0];
  expect(body("swiglu.wgsl")).toMatch(/floor/);
  expect(body("swiglu.wgsl")).toBe(body("causal_softmax.wgsl"));
});

it("the check can fail", () => {
  const broken = join(import.meta.dirname, "fixtures", "broken.wgsl");
  expect(compile([broken])[broken]?.join()).toMatch(/unresolved/);
});

it("every kernel file is used", () => {
  const used = new Set(Object.values(KERNELS).map((kernel) => kernel.file));
  expect([...used].sort()).toEqual(readdirSync(join(root, "kernels")).sort());
});
