/** Kernels of other authors: what their descriptions may say, and that what is described is what runs. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Answer, anyKernels } from "../../src/compare/kernels/answer.ts";
import { OP_KINDS, type OpKernelCase, opCases } from "../../src/compare/kernels/cases.ts";
import { judgeKernel } from "../../src/compare/kernels/judge.ts";
import { readDescription } from "../../src/engine/foreign/description.ts";
import { parseExpression } from "../../src/engine/foreign/expression.ts";
import { ForeignKernel, leftOutAt } from "../../src/engine/foreign/foreign-kernel.ts";
import { BUFFERS, factNames, factsOf } from "../../src/engine/foreign/op-facts.ts";
import { BORDER, runKernel, runPrepared } from "../../src/engine/kernel-run.ts";
import { kernelPath, Pipelines } from "../../src/engine/kernels.ts";
import type { OpKind } from "../../src/model/ops.ts";
import { hashOf } from "../../src/trace/sketch.ts";
import { testGpu } from "../support/engine.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-foreign-"));
function file(name: string, content: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}
const first = (words: string): OpKernelCase => {
  const [found] = opCases((id) => id.startsWith(words));
  if (found === undefined) throw new Error(`no case ${words}`);
  return found;
};

describe("an expression", () => {
  const facts = { rows: 37, columns: 64, eps: 1e-5 };
  const value = (text: string) => parseExpression(text, Object.keys(facts)).of(facts);

  it.each([
    ["ceil(rows / 16)", 3],
    ["rows - 1 - 2", 34],
    ["rows + 2 * -columns", -91],
    ["(rows + 2) * columns", 2496],
    ["columns % 32 == 0", 1],
    ["rows % 32 == 0", 0],
    ["1 + 3 * (rows > 1)", 4],
    ["max(min(rows, 8), floor(2.5))", 8],
    ["1e3 / 8", 125],
    ["eps", 1e-5],
  ])("%s is %d", (text, right) => expect(value(text)).toBe(right));

  it("sums and products are those of arithmetic, in any nesting", () => {
    type Tree = { text: string; value: number };
    const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.nat(99).map((number) => ({ text: String(number), value: number })),
        fc.tuple(tie("tree"), fc.constantFrom("+", "-", "*"), tie("tree")).map(([a, operator, b]) => ({
          text: `(${a.text} ${operator} ${b.text})`,
          value: operator === "+" ? a.value + b.value : operator === "-" ? a.value - b.value : a.value * b.value,
        })),
      ),
    }));
    fc.assert(
      fc.property(tree, (each) => {
        fc.pre(each.text.length <= 200);
        expect(value(each.text)).toBe(each.value);
      }),
    );
  });

  it.each([
    ["row", /no "row" here; there are rows, columns, eps/],
    ["constructor", /no "constructor" here/],
    ["rows +", /ends where a value is expected/],
    ["(rows", /a "\)" is missing/],
    ["rows columns", /"columns" is not expected there/],
    ["rows; 1", /";" is not part of an expression/],
    ["process.exit(1)", /is not part of an expression|no "process"/],
    ["", /ends where a value/],
    ["(".repeat(300), /at most 200/],
  ])("%s is refused", (text, words) => expect(() => value(text)).toThrow(words));
});

const ADD = {
  entry: "add",
  workgroups: ["ceil(count / width)"],
  bindings: { 0: { uniform: ["count: u32"] }, 1: "a", 2: "b", 3: "y" },
  overrides: { WIDTH: "width" },
};

describe("a description", () => {
  it.each<[string, unknown, RegExp]>([
    ["no JSON", "{", /bad\.json: is no JSON/],
    ["unknown field", { ...ADD, grid: [1] }, /bad\.json: .*grid/],
    ["no entry", { ...ADD, entry: undefined }, /bad\.json: entry is missing/],
    ["unknown buffer", { ...ADD, bindings: { 0: "c" } }, /bindings: add has no buffer "c"; it has a, b, y/],
    ["missing binding", { ...ADD, bindings: { 1: "a", 3: "y" } }, /bindings: "b" stands nowhere; add has a, b, y/],
    ["output twice", { ...ADD, bindings: { 1: "a", 2: "b", 3: "y", 4: "y" } }, /"y" stands 2 times/],
    ["wrong number", { ...ADD, bindings: { "1.5": "a" } }, /bindings\.1\.5: "1\.5" is no binding number; 0 to 999/],
    ["number too large", { ...ADD, bindings: { 1000: "a" } }, /"1000" is no binding number/],
    ["wrong place", { ...ADD, bindings: { 0: 1 } }, /bindings\.0: the name of a buffer/],
    ["no field", { ...ADD, bindings: { 0: { uniform: ["count"] } } }, /bindings\.0: "count": a field is written like/],
    ["unknown fact", { ...ADD, overrides: { N: "eps" } }, /overrides\.N: "eps": no "eps" here; there are tokens/],
    ["no groups", { ...ADD, workgroups: [] }, /bad\.json: workgroups/],
    ["wrong layout", { ...ADD, weights: "q4" }, /weights: expected one of "f32"\|"blocks"\|"gguf"/],
    ["types of nothing", { ...ADD, types: ["Q8_0"] }, /types: add reads no weights/],
  ])("%s is refused in a line", (_name, content, words) => {
    expect(() => readDescription(file("bad.json", content), "add")).toThrow(words);
  });

  it("names what each kind of op reads, and every fact of it is a number", () => {
    for (const kind of OP_KINDS) {
      const of = first(`${kind} `);
      expect([kind, BUFFERS[kind].inputs.length]).toEqual([kind, of.inputs.length]);
      expect(BUFFERS[kind].weights.length).toBeGreaterThanOrEqual(of.op.weights.length);
      const facts = factsOf(of, "f32", 8);
      expect(Object.keys(facts)).toEqual(factNames(kind));
      for (const [name, value] of Object.entries(facts)) expect([kind, name, Number.isFinite(value)]).toContain(true);
    }
  });

  it("leaves out the cases that it says, with the reason", () => {
    const of = readDescription(file("needs.json", { ...ADD, needs: ["columns % 32 == 0"] }), "add");
    expect(leftOutAt(of, first("add 4x32 "))).toBe(null);
    expect(leftOutAt(of, first("add 3x31 "))).toBe("needs columns % 32 == 0");
    const linear = { ...ADD, bindings: { 0: "w", 1: "x", 2: "y" }, overrides: {}, types: ["Q8_0"] };
    const q8 = readDescription(file("q8.json", linear), "linear");
    expect(leftOutAt(q8, first("linear 5x64x64 Q8_0"))).toBe(null);
    expect(leftOutAt(q8, first("linear 5x64x64 Q4_0"))).toBe("takes weights in Q8_0");
    expect(leftOutAt(q8, first("linear 1x256x256+bias Q8_0"))).toBe("binds no bias");
  });
});

const STEP = { uniform: ["tokens: u32", "pos_start: u32", "keys: u32"] };
/** They read four elements at a load, and buffers have exactly their tensor's size. */
const QUADS = { needs: ["head_dim % 4 == 0"] };
const ATTENTION = { HEADS: "heads", GROUP: "heads / kv_heads", HEAD_DIM: "head_dim", WIDTH: "width" };
/** This program's own kernels, described. */
const OURS: Readonly<Partial<Record<OpKind, object>>> = {
  rms_norm: {
    ...{ entry: "rms_norm", workgroups: ["tokens"], bindings: { 1: "x", 2: "gain", 3: "y" } },
    overrides: { EMBD: "columns", EPS: "eps", WIDTH: "width" },
  },
  rope: {
    ...{ entry: "rope", workgroups: ["ceil(columns / 2 / width)", "tokens"] },
    bindings: { 0: { uniform: ["tokens: u32", "pos_start: u32"] }, 1: "x", 2: "cos", 3: "sin", 4: "y" },
    overrides: { HEAD_DIM: "head_dim", COLUMNS: "columns", WIDTH: "width" },
  },
  attn_scores: {
    ...{ ...QUADS, entry: "attn_scores", workgroups: ["ceil(keys / width)", "tokens", "heads"] },
    ...{ bindings: { 0: STEP, 1: "q", 2: "k", 3: "y" }, overrides: { ...ATTENTION, SCALE: "scale" } },
  },
  causal_softmax: {
    ...{ entry: "causal_softmax", workgroups: ["tokens", "heads"], bindings: { 0: STEP, 1: "x", 2: "y" } },
    overrides: { WIDTH: "width" },
  },
  attn_ctx: {
    ...{ ...QUADS, entry: "attn_ctx", workgroups: ["ceil(heads * head_dim / width)", "tokens"] },
    ...{ bindings: { 0: STEP, 1: "p", 2: "v", 3: "y" }, overrides: ATTENTION },
  },
  swiglu: { ...ADD, entry: "swiglu", bindings: { 0: { uniform: ["count: u32"] }, 1: "gate", 2: "up", 3: "y" } },
  add: ADD,
};

describe("what is described", () => {
  it.each(Object.keys(OURS) as OpKind[])("%s: this program's own kernel, described, gives its bits", async (kind) => {
    const gpu = await testGpu();
    const pipelines = new Pipelines(gpu);
    const description = readDescription(file(`${kind}.json`, OURS[kind]), kind);
    const kernel = new ForeignKernel(gpu, kernelPath(`${kind}.wgsl`), description);
    let count = 0;
    for (const each of opCases((id) => id.startsWith(`${kind} `) && / (normal|nan) /.test(id))) {
      if (leftOutAt(description, each) !== null) continue;
      const own = await runKernel(gpu, pipelines, each, 0);
      const described = await runPrepared(gpu, "described", await kernel.prepare(each, BORDER), 0);
      expect([each.id, hashOf(described.values)]).toEqual([each.id, hashOf(own.values)]);
      expect(described).toMatchObject({ unwritten: 0, unstable: 0, border: { before: 0, after: 0 } });
      count++;
    }
    expect(count).toBeGreaterThan(10);
  });

  it.each(["f32", "blocks"] as const)("embed: weights as %s", async (weights) => {
    const gpu = await testGpu();
    const kernel = new ForeignKernel(
      gpu,
      file(
        "rows.wgsl",
        `@group(0) @binding(0) var<storage, read> table: array<f32>;
         @group(0) @binding(1) var<storage, read> ids: array<u32>;
         @group(0) @binding(2) var<storage, read> params: array<u32>;
         @group(0) @binding(3) var<storage, read_write> y: array<f32>;
         @compute @workgroup_size(32) fn rows(@builtin(global_invocation_id) id: vec3u) {
           let i = id.y * params[0] + id.x;
           if (id.x < params[0] && i < arrayLength(&y)) { y[i] = table[ids[id.y] * params[0] + id.x]; }
         }`,
      ),
      readDescription(
        file("rows.json", {
          ...{ entry: "rows", workgroups: ["ceil(columns / 32)", "tokens"], weights },
          bindings: { 0: "table", 1: "ids", 2: { uniform: ["columns: u32"] }, 3: "y" },
        }),
        "embed",
      ),
    );
    const verdicts = new Map<string, string>();
    for (const each of opCases((id) => /^embed (5x33|3x2048) (F32|Q4_K) normal f32/.test(id))) {
      const run = await runPrepared(gpu, "rows", await kernel.prepare(each, BORDER), 0);
      verdicts.set(
        each.type ?? "",
        judgeKernel(each, run, new Answer(each, anyKernels({ decodesWeights: true, exactAngles: true }))).verdict,
      );
    }
    // Q4_K blocks read as f32 are nonsense.
    expect(Object.fromEntries(verdicts)).toEqual({ F32: "pass", Q4_K: weights === "f32" ? "pass" : "fail" });
  });

  it("a kernel that writes behind its output is seen to", async () => {
    const gpu = await testGpu();
    const code = `@group(0) @binding(1) var<storage, read> a: array<f32>;
      @group(0) @binding(2) var<storage, read> b: array<f32>;
      @group(0) @binding(3) var<storage, read_write> y: array<f32>;
      @compute @workgroup_size(8) fn add(@builtin(global_invocation_id) id: vec3u) { y[id.x] = a[id.x] + b[id.x]; }`;
    const of = readDescription(
      file("over.json", { ...ADD, bindings: { 1: "a", 2: "b", 3: "y" }, overrides: {} }),
      "add",
    );
    const kernel = new ForeignKernel(gpu, file("over.wgsl", code), of);
    const each = first("add 3x31 normal f32");
    const run = await runPrepared(gpu, "over", await kernel.prepare(each, BORDER), 0);
    expect(run.border.after).toBeGreaterThan(0);
    expect(judgeKernel(each, run).reasons).toEqual(["border"]);
  });
});
