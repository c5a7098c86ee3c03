/** The package as `npm pack` makes it, installed in a folder outside the repository: what is in it, what it does there, its types. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "faultline-package-"));
const installed = join(folder, "node_modules/faultline");
const model = join(installed, "models/faultline-tiny-f16.gguf");

function run(command: string, args: readonly string[], cwd = folder) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8", maxBuffer: 1 << 28 });
  if (error !== undefined) throw error;
  return { status, stdout, stderr };
}

/** Must succeed; its output. */
function output(command: string, args: readonly string[], cwd = folder): string {
  const { status, stdout, stderr } = run(command, args, cwd);
  expect(status, `${command} ${args.join(" ")}\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

let files: readonly string[] = [];

beforeAll(() => {
  const [packed] = JSON.parse(
    output("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], root),
  ) as { filename: string; files: { path: string }[] }[];
  files = packed?.files.map(({ path }) => path) ?? [];
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module", private: true }));
  const quietly = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
  output("npm", ["install", ...quietly, join(folder, packed?.filename ?? "")]);
});

const sources = (under: string, ending: string) =>
  readdirSync(join(root, under), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending))
    .map((file) => `${under}/${file}`);

describe("the packed files", () => {
  it("are all that runs, and nothing that is gone or for developers", () => {
    const needed = [
      ...[...sources("src", ".ts"), ...sources("references", ".ts")]
        .filter((file) => !file.startsWith("src/page/"))
        .map((file) => `dist/${file.replace(/\.ts$/, ".js")}`),
      ...sources("kernels", ".wgsl"),
      ...sources("references/maps", ".json"),
      ...["py", "sh", "txt"].flatMap((ending) => sources("references/hf", `.${ending}`)),
      ...["sh", "cpp", "hpp"].flatMap((ending) => sources("references/llamacpp", `.${ending}`)),
      ...sources("references/python", ".py"),
      ...["assets/report.js", "assets/report.css", "models/faultline-tiny-f16.gguf", "README.md", "LICENSE"],
    ];
    expect(needed.filter((file) => !files.includes(file))).toEqual([]);
    const scripts = files.filter((file) => file.startsWith("dist/") && file.endsWith(".js"));
    expect(scripts.filter((file) => !needed.includes(file))).toEqual([]);
    expect(files.filter((file) => /^(src|test|docs|\.ci)\/|\.test\.|node_modules/.test(file))).toEqual([]);
  });
});

describe("the installed program", () => {
  const faultline = join(folder, "node_modules/.bin/faultline");

  it("finds a planted bug and leaves its page", () => {
    const args = ["trace", model, "--tokens", "1,20,300", "--capture", "full", "-o", "wrong.arrow"];
    output(faultline, [...args, "--fault", "rope.pairing@blk.2.q_rope"]);
    const { status, stdout, stderr } = run(faultline, ["audit", "wrong.arrow", "--model", model, "--html", "a.html"]);
    expect(status, stderr).toBe(1);
    expect(stdout).toMatch(/^divergent: blk\.2\.q_rope is wrong by itself.*rope\.pairing/);
    expect(readFileSync(join(folder, "a.html"), "utf8")).toContain("rope.pairing");
  });

  it("runs the reference that needs nothing more, and the kernels", () => {
    output(faultline, ["bisect", model, "--against", "onnx", "--tokens", "1,20,300", "--exact", "-o", "clean"]);
    expect(output(faultline, ["kernels", "--filter", "rms_norm", "--no-time", "--no-onnx"])).toMatch(/^pass: 80 cases/);
    output(faultline, ["doctor"]);
  });
});

describe("the installed library", () => {
  const program = /```ts\n(import \{ audit,[\s\S]*?)```/.exec(readFileSync(join(root, "docs/library.md"), "utf8"))?.[1];

  it("has types for a strict program, of its own dependencies alone", () => {
    writeFileSync(join(folder, "program.ts"), program ?? "");
    const strict = [
      "--strict",
      "--exactOptionalPropertyTypes",
      "--noUncheckedIndexedAccess",
      "--skipLibCheck",
      "false",
    ];
    const target = ["--target", "es2022", "--module", "nodenext", "--lib", "es2023,esnext.disposable"];
    const node = ["--types", "node", "--typeRoots", join(root, "node_modules/@types")];
    output(join(root, "node_modules/.bin/tsc"), [...strict, ...target, ...node, "program.ts"]);
  });

  it("does what its page shows", () => {
    const lines = output(process.execPath, ["program.js", model]).trim().split("\n");
    expect(lines).toEqual([
      "divergent blk.2.q_rope 0",
      expect.stringMatching(/^divergent: blk\.2\.q_rope is wrong by itself.*\(rope\.pairing\)$/),
      expect.stringMatching(/^blk\.2\.q_rope [\d.]+ rope\.pairing [\d.e-]+$/),
      expect.stringMatching(/^rotated in halves/),
      expect.stringMatching(/^\[ \d+, \d+ \] [\d.]+ \d+$/),
    ]);
  });

  it("loads the GPU library where a model is run, and not before", () => {
    const loaded = "process.report.getReport().sharedObjects.some((path) => path.endsWith('dawn.node'))";
    const judged = "withinBudget('add', [3], { a: [1], b: [2] })";
    const script = (first: string) =>
      `import { traceModel, withinBudget } from "faultline"; ${first}; console.log(${loaded});`;
    const evaluate = (first: string) => output(process.execPath, ["--input-type=module", "-e", script(first)]).trim();
    expect(evaluate(judged)).toBe("false");
    const traced = `await traceModel({ model: ${JSON.stringify(model)}, tokens: [1], output: "x.arrow" })`;
    expect(evaluate(traced)).toBe("true");
  });
});
