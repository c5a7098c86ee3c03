/** A repro bundle fails as the audit did, turns green with a right output, and holds the run's own numbers bit for bit. */
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { compactTable, openBundle } from "../../src/compare/bundle-read.ts";
import { bundleOf } from "../../src/compare/bundle-write.ts";
import { asRecorded, replay } from "../../src/compare/replay.ts";
import { parseFault } from "../../src/engine/faults/parse.ts";
import { runSingleOp } from "../../src/engine/single-op.ts";
import { decodeBlocks } from "../../src/model/blocks.ts";
import { InputError } from "../../src/trace/errors.ts";
import { readNpy, writeNpy } from "../../src/trace/npy.ts";
import { bundled, bundledRun, dropBundles, newBundleFolder } from "../support/bundles.ts";
import { syntheticModel, testGpu } from "../support/engine.ts";
import { Bench, embedded, firstDifference } from "../support/faults.ts";

afterAll(dropBundles);

/** One a kind; steps after the first read cached rows of several steps. */
const FAULTS: readonly [kind: string, fault: string, step: number][] = [
  ["embed", "embed.scale-extra@embed", 0],
  ["rms_norm", "norm.mean-subtracted@blk.1.ffn_norm", 1],
  ["linear", "linear.transposed@blk.2.q_proj", 0],
  ["rope", "rope.pairing@blk.2.q_rope", 2],
  ["attn_scores", "attn.gqa-modulo@blk.2.attn_scores", 2],
  ["causal_softmax", "attn.mask-excludes-self@blk.2.attn_probs", 0],
  ["attn_ctx", "attn.heads-merged-transposed@blk.2.attn_ctx", 1],
  ["swiglu", "act.gelu-tanh@blk.2.ffn_act", 0],
  ["add", "residual.twice@blk.2.attn_residual", 0],
  ["linear", "memory.nan@blk.0.attn_out", 0],
];

/** Digest of the bits of values. */
const bits = (values: Float32Array | null | undefined) =>
  createHash("sha256")
    .update(new Uint8Array(Float32Array.from(values ?? []).buffer))
    .digest("hex");

async function ranAlone(folder: string, fault?: string) {
  const bundle = openBundle(folder);
  const { op, facts, inputs } = bundle;
  return runSingleOp(await testGpu(), {
    ...{ op, posStart: facts.posStart, ...compactTable(bundle) },
    dtype: facts.dtype === "f16" ? "f16" : "f32",
    inputs: inputs.map(({ data }) => Float32Array.from(data)),
    ...(fault === undefined ? {} : { fault: parseFault(fault, bundle.model) }),
  });
}

describe("a planted fault, bundled", () => {
  it.each(FAULTS)("%s: %s in step %i", async (kind, fault, step) => {
    const bench = await embedded();
    const tap = fault.split("@")[1] ?? "";
    const { folder, own, run } = await bundled(bench, tap, step, fault);
    expect(own.verdict).toBe("proved");
    const bundle = openBundle(folder);
    expect(bundle.op.kind).toBe(kind);
    expect(bundle.facts.provenance).toMatchObject({ step, verdict: "proved", diagnosis: "a planted fault" });
    expect(bundle.facts.provenance.relative_error).toBe(Number.isFinite(own.relL2) ? own.relL2 : null);
    // The audit's own figures, all of them.
    expect(replay(bundle, asRecorded(bundle))).toEqual(own);
    const [clean, faulty] = [bench.clean[step]?.values.get(tap), run[step]?.values.get(tap)];
    expect(bits(bundle.actual)).toBe(bits(faulty));
    expect(replay(bundle, asRecorded(bundle, clean)).verdict).toBe("clean");
    // The engine's kernels alone, with and without the fault, give what they gave in the run.
    expect(bits(await ranAlone(folder))).toBe(bits(clean));
    if (!fault.startsWith("memory.")) expect(bits(await ranAlone(folder, fault))).toBe(bits(faulty));
  });

  it("runs no fault that needs the cache, or other ops", async () => {
    const bench = await embedded();
    const { folder } = await bundledRun(bench, bench.clean, "blk.2.attn_scores", 1);
    const ran = (fault: string) => ranAlone(folder, fault);
    await expect(ran("kv.stale")).rejects.toThrow(/needs other ops than blk.2.attn_scores, which runs alone/);
    await expect(ran("rope.sign")).rejects.toThrow(/no op of this run has it/);
    await expect(ran("rope.sign@blk.2.q_rope")).rejects.toThrow(/no such tap/);
  });

  it("is the first op that differs, so its inputs are those of a clean run", async () => {
    const bench = await embedded();
    expect(firstDifference(bench.clean, await bench.run("rope.pairing@blk.2.q_rope"))?.tap).toBe("blk.2.q_rope");
  });
});

describe("quantised weights, biases, divided frequencies, halves", () => {
  const shape = { embd: 256, heads: 4, kvHeads: 2, ffn: 512, layers: 1, vocab: 258, type: "Q4_K" } as const;
  const options = { ...shape, biases: true, ropeFactors: new Float32Array(32).fill(1.5) };
  const steps = [[5, 5, 200, 7], [9]];
  const taps = ["embed", "blk.0.q_proj", "blk.0.k_rope", "blk.0.attn_scores"];

  it.each(["f32", "f16"] as const)("%s", async (dtype) => {
    const bench = await Bench.of(await syntheticModel(options), steps);
    const run = await bench.runWith({ dtype });
    for (const tap of taps) {
      const { folder, own, values } = await bundledRun(bench, run, tap, 1);
      const bundle = openBundle(folder);
      expect(replay(bundle, asRecorded(bundle)), tap).toEqual(own);
      expect(bundle.facts.dtype).toBe(dtype);
      expect(bits(await ranAlone(folder)), tap).toBe(bits(await values.values(1, tap)));
      for (const { name, rows, file } of bundle.facts.weights) {
        const { model } = bench;
        const tensor = model.file.tensor(name);
        const held = readNpy(join(folder, file), "u1", [rows?.length ?? tensor.rows, tensor.rowBytes], "");
        const own = rows === null ? model.file.readRows(tensor) : model.file.readRows(tensor, rows[0], 1);
        expect(Buffer.from(held).equals(Buffer.from(own)), name).toBe(true);
        expect(decodeBlocks(tensor.type, held)).toEqual(
          bundle.model.file.decodeRows(bundle.model.file.tensor(name), rows?.[0] ?? 0, rows?.length ?? tensor.rows),
        );
      }
    }
  });
});

describe("writing", () => {
  it("holds an input that is not finite, and judges the rest", async () => {
    const bench = await embedded();
    const run = await bench.run("memory.nan@blk.0.attn_out");
    const { folder, own, node } = await bundledRun(bench, run, "blk.0.attn_residual", 0);
    const bundle = openBundle(folder);
    expect(own.nonFinite.inherited).toBeGreaterThan(0);
    expect(replay(bundle, asRecorded(bundle))).toEqual(own);
    const taps = node.inputs.map(({ tap }) => bits(run[0]?.values.get(tap)));
    expect(bundle.inputs.map(({ data }) => bits(Float32Array.from(data)))).toEqual(taps);
  });

  it("is whole or not there, and never over anything", async () => {
    const bench = await embedded();
    const { folder, audited, values } = await bundledRun(bench, bench.clean, "blk.1.ffn_act", 0);
    const before = readdirSync(folder);
    const write = (path: string) => bundleOf(bench.model, values, audited, path);
    await expect(write(folder)).rejects.toThrow(/holds \d files already; name a new folder/);
    expect(readdirSync(folder)).toEqual(before);
    await expect(write(join(folder, "bundle.json"))).rejects.toThrow(/not a folder/);
    await expect(write(join(folder, "a", "b"))).rejects.toThrow(InputError);
    expect(readdirSync(folder)).toEqual(before);
    const empty = newBundleFolder();
    mkdirSync(empty);
    await write(empty);
    expect(readdirSync(empty).sort()).toEqual([...before].sort());
    const broken = newBundleFolder();
    mkdirSync(`${broken}.partial`);
    await expect(write(broken)).rejects.toThrow(/left by a write that was broken off/);
    expect(existsSync(broken)).toBe(false);
    await expect(bundleOf(bench.model, values, { ...audited, own: null }, newBundleFolder())).rejects.toThrow(
      /not judged/,
    );
  });
});

describe("a damaged bundle is one line", () => {
  type Facts = Record<string, unknown>;
  const edited = (folder: string, change: (facts: Facts) => void) => {
    const path = join(folder, "bundle.json");
    const facts = JSON.parse(readFileSync(path, "utf8")) as Facts;
    change(facts);
    writeFileSync(path, JSON.stringify(facts));
  };
  const rewritten = (folder: string, file: string, write: (path: string) => void) => {
    rmSync(join(folder, file));
    write(join(folder, file));
  };
  const SHAPE = [24, 256];
  const DAMAGES: readonly [name: string, message: RegExp, damage: (folder: string) => void][] = [
    ["no bundle.json", /bundle\.json: no such file/, (f) => rmSync(join(f, "bundle.json"))],
    ["no JSON", /not JSON/, (f) => writeFileSync(join(f, "bundle.json"), "{")],
    [
      "another version",
      /"faultline\.bundle\/2", this program reads/,
      (f) => edited(f, (j) => (j.schema = "faultline.bundle/2")),
    ],
    ["null", /no schema, this program reads/, (f) => writeFileSync(join(f, "bundle.json"), "null")],
    ["no tokens", /tokens/, (f) => edited(f, (j) => (j.tokens = []))],
    ["a file elsewhere", /name like input-0\.npy/, (f) => edited(f, (j) => (j.actual = "../actual.npy"))],
    ["other tokens", /inputs|shape/, (f) => edited(f, (j) => (j.tokens = [1]))],
    ["another position", /its inputs give/, (f) => edited(f, (j) => (j.posStart = 1))],
    [
      "an unknown axis",
      /dims "token nowhere" have no size/,
      (f) => edited(f, (j) => ((j.op as Facts).dims = "token nowhere")),
    ],
    ["other heads", /head of 16, 32 turn/, (f) => edited(f, (j) => ((j.op as Facts).headDim = 16))],
    ["another kind", /must be/, (f) => edited(f, (j) => (j.op = { ...(j.op as Facts), kind: "swiglu" }))],
    ["weights that are not the op's", /not the op's/, (f) => edited(f, (j) => ((j.op as Facts).weights = ["x"]))],
    ["a tensor that is missing", /input-0\.npy: no such file/, (f) => rmSync(join(f, "input-0.npy"))],
    ["no npy", /not a \.npy file/, (f) => writeFileSync(join(f, "input-0.npy"), "nonsense that is long enough")],
    [
      "another dtype",
      /elements of type <f8, <f4 is needed/,
      (f) => rewritten(f, "actual.npy", (path) => writeNpy(path, "f8", SHAPE, new Float64Array(24 * 256))),
    ],
    [
      "another shape",
      /shape \[256, 24\], \[24, 256\] is needed/,
      (f) => rewritten(f, "input-0.npy", (path) => writeNpy(path, "f4", [256, 24], new Float32Array(24 * 256))),
    ],
    [
      "other values",
      /its inputs give 0 at element \d+, expected\.npy has/,
      (f) => rewritten(f, "input-0.npy", (path) => writeNpy(path, "f4", SHAPE, new Float32Array(24 * 256))),
    ],
    [
      "a file cut short",
      /bytes long/,
      (f) => writeFileSync(join(f, "expected.npy"), readFileSync(join(f, "expected.npy")).subarray(0, 1000)),
    ],
    [
      "nothing finite",
      /none of 6144 elements can be judged/,
      (f) => {
        const nan = (n: number) => new Float32Array(n).fill(Number.NaN);
        rewritten(f, "input-0.npy", (path) => writeNpy(path, "f4", SHAPE, nan(24 * 256)));
        rewritten(f, "expected.npy", (path) => writeNpy(path, "f8", SHAPE, Float64Array.from(nan(24 * 256))));
      },
    ],
  ];

  it.each(DAMAGES)("%s", async (_name, message, damage) => {
    const bench = await embedded();
    const { folder } = await bundledRun(bench, bench.clean, "blk.2.q_rope", 0);
    const copy = newBundleFolder();
    cpSync(folder, copy, { recursive: true });
    damage(copy);
    const read = () => {
      const bundle = openBundle(copy);
      return replay(bundle, asRecorded(bundle));
    };
    expect(read).toThrow(InputError);
    expect(read).toThrow(message);
    expect(read).not.toThrow(/\n/);
  });
});
