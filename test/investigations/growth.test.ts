/**
 * "Do the hidden states grow too much?" (docs/commands.md, `inspect --vs`): the story's four suspicions, each planted in turn, and none;
 * and its table: the weights of the file beside the ops that read them.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { compareTraces } from "../../src/compare/compare.ts";
import { fileWeight, recordedAs } from "../../src/compare/file-weights.ts";
import { rmsPairs } from "../../src/compare/growth.ts";
import { BLOCK_TYPES } from "../../src/model/blocks.ts";
import { roundToBfloat16, roundToHalf } from "../../src/model/half.ts";
import { openModel } from "../../src/model/model.ts";
import { inspectSchema } from "../../src/report/inspect.ts";
import { versusSentence } from "../../src/report/inspect-vs.ts";
import { scaleOf, sparkline } from "../../src/report/sparkline.ts";
import { Trace } from "../../src/trace/reader.ts";
import { hashOf } from "../../src/trace/sketch.ts";
import { statisticsOf } from "../../src/trace/statistics.ts";
import { nameInLayer } from "../../src/trace/taps.ts";
import { expectRefused, faultline } from "../support/cli.ts";
import { writeGguf } from "../support/gguf-builder.ts";
import { normals } from "../support/random.ts";
import { syntheticLlama } from "../support/synthetic-llama.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const folder = mkdtempSync(join(tmpdir(), "faultline-growth-"));

function traced(name: string, ...options: string[]): string {
  const path = join(folder, `${name}.arrow`);
  const run = ["trace", MODEL, "-p", "In the beginning God", "-n", "1", "--capture", "full", "-o", path, "--quiet"];
  const { status, stderr } = faultline(...run, ...options);
  expect(status, stderr).toBe(0);
  return path;
}

const looked = (path: string, reference: string, ...options: string[]) => {
  const { status, stdout, stderr } = faultline("inspect", path, "--vs", reference, "--json", "--quiet", ...options);
  expect(stdout, stderr).not.toBe("");
  return { status, ...inspectSchema.parse(JSON.parse(stdout)) };
};

describe("growth beside a reference", () => {
  let reference = "";
  beforeAll(() => {
    reference = traced("reference", "--device", "oracle");
  });

  it("all is normal: the same growth, said so", () => {
    const path = traced("clean", "--taps", "*,weight:blk.1.*");
    const { status, vs, growth } = looked(path, reference);
    expect(status).toBe(0);
    expect(vs?.verdict).toBe("match");
    expect(vs?.sentence).toMatch(/^grows as the reference does: RMS 1 - .* none of \d+ ops is beyond its budget$/);
    expect(vs?.growth.map(({ tap }) => tap)).toEqual(growth.map(({ tap }) => tap));
    for (const { ratio } of vs?.growth ?? []) expect(Math.abs((ratio ?? 0) - 1)).toBeLessThan(1e-6);

    const text = faultline("inspect", path, "--vs", reference, "--layers", "1", "--quiet").stdout;
    for (const tap of ["blk.1.attn_norm", "blk.1.ffn_act", "weight:blk.1.ffn_down.weight"]) expect(text).toContain(tap);
    expect(text).not.toContain("blk.0.attn_norm ");
    expect(text).toMatch(/^match: grows as the reference does/m);
  });

  it.each([
    ["norm.weight-missing@blk.1.attn_norm", "blk.1.attn_norm"],
    ["embed.scale-extra", "embed"],
    ["attn.scale-missing@blk.2.attn_scores", "blk.2.attn_scores"],
  ])("%s: the first op is named", (fault, tap) => {
    const { status, vs } = looked(traced(tap, "--fault", fault), reference);
    expect(status).toBe(1);
    expect(vs?.verdict).toBe("divergent");
    expect(vs?.first).toEqual({ tap, step: 0 });
    expect(vs?.sentence).toMatch(/^departs from the reference \(RMS .*\); first: /);
    expect(vs?.sentence).toContain(tap);
  });

  it("the drift of the mean and its changes of sign are those of the means", () => {
    const { growth } = looked(reference, reference);
    const stream = growth.filter(({ layer, tap }) => layer !== null || tap === "embed");
    for (const [i, row] of stream.entries()) {
      const [mean, before] = [row.mean as number, stream[i - 1]?.mean as number | undefined];
      expect(row.drift).toBe(before === undefined ? null : mean - before);
      expect(row.sign_flip).toBe(before !== undefined && Math.sign(mean) !== Math.sign(before));
    }
    expect(stream.length).toBe(5);
  });

  it("other tokens accuse no op", () => {
    const { status, vs } = looked(traced("lord", "-p", "In the beginning Lord"), reference);
    expect([status, vs?.first?.tap]).toEqual([1, "tokens"]);
    expect(vs?.sentence).toMatch(
      /^runs other tokens than the reference .*; first: the tokens differ at position \d+: /,
    );
  });

  it("bad input is refused in one line", () => {
    const none = join(folder, "none.arrow");
    for (const [args, words] of [
      [["--vs", none], /none\.arrow/],
      [["--layers", "9"], /--layers 9: "9" is not within 0-3/],
      [["--layers", "none"], /--layers none/],
    ] as const) {
      expectRefused(["inspect", reference, ...args], words);
    }
  });
});

describe("an envelope", () => {
  const inspected = (...args: string[]) => {
    const { status, stdout, stderr } = faultline("inspect", ...args, "--json", "--quiet");
    expect(stdout, stderr).not.toBe("");
    return { status, vs: inspectSchema.parse(JSON.parse(stdout)).vs };
  };

  it("what a second trusted run differs by is natural", () => {
    const [reference, half] = [traced("expected", "--device", "oracle"), traced("half", "--dtype", "f16")];
    const path = traced("sums", "--fault", "linear.f16-accumulate@blk.1.ffn_down");
    const alone = inspected(path, "--vs", reference);
    expect([alone.status, alone.vs?.first, alone.vs?.envelope]).toEqual([1, { tap: "blk.1.ffn_down", step: 0 }, null]);
    expect(alone.vs?.warnings.join()).toContain("has planted faults: linear.f16-accumulate@blk.1.ffn_down");
    const beside = inspected(path, "--vs", reference, "--envelope", half);
    expect([beside.status, beside.vs?.verdict, beside.vs?.envelope]).toEqual([0, "match", half]);

    const { status, stderr } = faultline("inspect", path, "--envelope", half);
    expect([status, stderr]).toEqual([
      2,
      expect.stringMatching(/--envelope .*half\.arrow: .*name the reference too\n$/),
    ]);
  });

  it("equal growth is claimed only where budgets bound it", async () => {
    const paths = [traced("one", "--device", "oracle"), traced("two")] as const;
    const [expected, actual] = await Promise.all(paths.map((path) => Trace.open(path)));
    if (expected === undefined || actual === undefined) throw new Error("two traces");
    const comparison = await compareTraces(expected, actual);
    const stream = rmsPairs(
      actual.records.filter(({ tap }) => tap === "blk.1.output").slice(0, 1),
      expected.records,
      0,
    );
    for (const trace of [expected, actual]) await trace.close();
    const sentence = (allowed: number) => {
      const ops = comparison.ops.map((op, i) => (i === 3 ? { ...op, judgement: { ...op.judgement, allowed } } : op));
      return versusSentence({ path: paths[0], stream, taps: [], comparison: { ...comparison, ops } });
    };
    expect(sentence(0.5)).toMatch(/^grows as the reference does: .* none of \d+ ops is beyond its budget$/);
    expect(sentence(1)).toMatch(
      /^is not seen to depart from the reference: .*; 1 of \d+ could not have been seen to differ$/,
    );
  });
});

describe("weights of the file", async () => {
  const model = await openModel(MODEL);
  const looked = (path: string, ...options: string[]) => {
    const { status, stdout, stderr } = faultline("inspect", path, "--model", MODEL, "--json", "--quiet", ...options);
    expect(stdout, stderr).not.toBe("");
    return { status, ...inspectSchema.parse(JSON.parse(stdout)) };
  };
  let clean = "";
  beforeAll(() => {
    clean = traced("plain");
  });

  it("all of them, summed up by kind: the figures are those of the whole tensors", () => {
    const { weights, growth } = looked(clean);
    expect(growth.length).toBe(7);
    expect(weights?.tensors.map(({ name }) => name)).toEqual([...model.weights.keys()]);
    for (const { name, shape, type, rms, max_abs, mean, zero, hash, recorded } of weights?.tensors ?? []) {
      const tensor = model.file.tensor(name);
      const values = model.file.decodeRows(tensor);
      const figure = [...values].reduce((sum, x) => sum + x * x, 0) / values.length;
      expect(rms).toBeCloseTo(Math.sqrt(figure), 10);
      expect(mean).toBeCloseTo([...values].reduce((sum, x) => sum + x, 0) / values.length, 10);
      expect(max_abs).toBe([...values].reduce((most, x) => Math.max(most, Math.abs(x)), 0));
      expect(zero).toBe([...values].filter((x) => x === 0).length);
      expect([shape, type, recorded]).toEqual([tensor.shape, tensor.type.name.toLowerCase(), null]);
      expect(hash).toBe(hashOf(values).toString(16).padStart(16, "0"));
    }
    for (const { kind, count, least, median, most } of weights?.kinds ?? []) {
      const rms = weights?.tensors.flatMap(({ name, rms }) => (nameInLayer(name) === kind ? Number(rms) : []));
      const sorted = rms?.sort((a, b) => a - b) ?? [];
      const middle = sorted[Math.ceil(count / 2) - 1];
      expect([count, least?.rms, median?.rms, most?.rms]).toEqual([sorted.length, sorted[0], middle, sorted.at(-1)]);
    }
    expect(weights?.kinds.reduce((sum, { count }) => sum + count, 0)).toBe(model.weights.size);
  });

  it("layers: what goes in, then each op with the weights that it reads before it, in no more than 100 columns", () => {
    const { status, stdout } = faultline("inspect", clean, "--model", MODEL, "--layers", "1", "--quiet");
    expect(status).toBe(0);
    const rows = stdout.split("\n").filter((line) => /^(embed|token_embd|blk)\b/.test(line));
    const { tensors } = looked(clean, "--layers", "1").weights ?? { tensors: [] };
    const expected = model.graph
      .filter(({ op }) => op.tap === "blk.0.output" || op.tap.startsWith("blk.1."))
      .flatMap(({ op }) => [...op.weights, op.tap]);
    expect(rows.map((line) => line.split(" ")[0])).toEqual(expected);
    expect(tensors.map(({ name, read_by }) => [...read_by, name])).toEqual(
      expected.flatMap((name, i) => (name.endsWith(".weight") ? [[expected[i + 1], name]] : [])),
    );
    for (const line of rows) expect(line.length).toBeLessThanOrEqual(100);
  });

  it("taps: the weights that these ops read, and those that a glob names, at any step", () => {
    const names = (...options: string[]) => looked(clean, ...options).weights?.tensors.map(({ name }) => name);
    expect(names("--tap", "blk.2.ffn_up,blk.2.ffn_act")).toEqual(["blk.2.ffn_up.weight"]);
    expect(names("--tap", "weight:output*", "--step", "1")).toEqual(["output_norm.weight"]);
    expect(names("--tap", "embed,logits")).toEqual(["token_embd.weight"]);
  });

  it("weights that the trace recorded are the file's, or are named", () => {
    const kept = ["--taps", "blk.1.*,weight:blk.1.*"];
    const [own, half] = [looked(traced("own", ...kept)), looked(traced("own16", "--dtype", "f16", ...kept))];
    for (const { status, weights } of [own, half]) {
      expect(status).toBe(0);
      for (const { name, recorded } of weights?.tensors ?? [])
        expect(recorded).toBe(name.startsWith("blk.1.") ? "same" : null);
    }
    const spec = syntheticLlama({ type: "Q4_0" });
    const [file, path] = [writeGguf(join(folder, "q4.gguf"), spec), join(folder, "q4.arrow")];
    const fault = ["--fault", "quant.nibble-order@blk.1.q_proj", ...kept];
    expect(faultline("trace", file, "--tokens", "3,4", "-n", "0", ...fault, "-o", path, "--quiet").status).toBe(0);
    const wrong = faultline("inspect", path, "--model", file, "--quiet");
    expect(wrong.status).toBe(1);
    expect(wrong.stdout).toMatch(/^weights recorded in the trace: 8 of 9 .*; not the file's: blk\.1\.attn_q\.weight$/m);
    expect(faultline("inspect", path, "--model", file, "--layers", "1").stdout).toMatch(
      /^blk\.1\.attn_q\.weight .*\n {2}as the run had it .*\nblk\.1\.q_proj /m,
    );
    const other = faultline("inspect", path, "--model", MODEL);
    expect([other.status, other.stdout, other.stderr.trim().split("\n").length]).toEqual([2, "", 1]);
    expect(other.stderr).toMatch(/q4\.arrow .*give the model that was run/);
  });

  it("slab by slab as in one piece, whatever is not finite; narrower copies are told from strangers", () => {
    const [rows, columns] = [1300, 1024];
    const random = normals(7, rows * columns);
    const values = Float32Array.from(random, (x, i) =>
      i % 4099 === 0 ? Number.NaN : i % 5003 === 0 ? Number.NEGATIVE_INFINITY : i % 997 === 0 ? 0 : x,
    );
    const f32 = BLOCK_TYPES.find(({ name }) => name === "F32");
    if (f32 === undefined) throw new Error("F32");
    const file = {
      name: "made here",
      tensor: (name: string) => ({
        ...{ name, shape: [rows, columns], type: f32, byteOffset: 0, rowBytes: 4 * columns, rows, columns },
      }),
      readRows: () => new Uint8Array(0),
      decodeRows: (_: unknown, first = 0, count = rows) => values.slice(first * columns, (first + count) * columns),
    };
    const weight = fileWeight(file, "blk.3.ffn_up.weight");
    expect(weight.statistics).toEqual(statisticsOf(values, rows, columns).statistics);
    expect([weight.hash, weight.layer]).toEqual([hashOf(values), 3]);
    const as = (copy: Float32Array) => recordedAs(file, weight, { hash: hashOf(copy) });
    expect([as(values), as(values.map(roundToHalf)), as(values.map(roundToBfloat16))]).toEqual([
      ...["same", "same in f16", "same in bf16"],
    ]);
    expect(as(values.with(5, 1))).toBe("differs");
    expect(recordedAs(file, weight, { hash: 0n })).toBe("unknown");
  });
});

describe("a curve in one line", () => {
  const figure = fc.double({ noNaN: true, min: -1e6, max: 1e6 });
  it("keeps the order of figures, lowest to highest", () => {
    fc.assert(
      fc.property(fc.array(figure, { minLength: 2, maxLength: 40 }), (values) => {
        const line = [...sparkline(values)];
        expect(line).toHaveLength(values.length);
        for (const [i, a] of values.entries()) {
          for (const [j, b] of values.entries()) {
            if (a < b) expect((line[i] as string) <= (line[j] as string)).toBe(true);
          }
        }
      }),
    );
  });
  it("shows what is not known and what is not finite", () => {
    expect(sparkline([1, null, Number.NaN, 2, Number.POSITIVE_INFINITY])).toBe("▁?!█!");
    expect(scaleOf([0.01, 1]).isLog).toBe(true);
    expect(scaleOf([-1, 100]).isLog).toBe(false);
    expect(sparkline([0.01, 0.1, 1])).toBe("▁▅█");
  });
});
