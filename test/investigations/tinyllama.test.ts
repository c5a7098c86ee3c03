/**
 * Figures that HuggingFace Transformers printed for TinyLlama-1.1B-Chat, against a run of this engine. They need that model: name
 * a GGUF of it with F16, BF16 or F32 weights in FAULTLINE_TINYLLAMA.
 *
 * What may differ. The figures were printed from a run in half precision: every one is a multiple of its f16 spacing. So its
 * op outputs were rounded to f16, each by at most u = 2^-11 of the element, where this engine rounds to f32. Rounding errors
 * are independent, and a linear map with no pattern keeps a row's relative error; after n stored results an element is then
 * off by a standard deviation of at most u sqrt(n) RMS(row), and by six of these at most. Weights are bf16 in the original:
 * f16 holds them but for its subnormals, which a half of 2^-24 covers. Printed digits add half of the last one.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { tokensSchema } from "../../src/report/tokens.ts";
import { Trace } from "../../src/trace/reader.ts";
import { PROGRAM } from "../support/program.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 1_800_000 });

const root = join(import.meta.dirname, "../..");
const MODEL = process.env.FAULTLINE_TINYLLAMA;
const U = 2 ** -11;
const SUBNORMAL = 2 ** -25;

// biome-ignore format: as HuggingFace prints them, a line per turn
const IDS = [
  529, 29989, 5205, 29989, 29958, 13, 3492, 526, 263, 19780, 13563, 7451, 29889,
  2, 29871, 13, 29966, 29989, 1792, 29989, 29958, 13, 10994, 29991, 1128, 526, 366, 29973,
  2, 29871, 13, 29966, 29989, 465, 22137, 29989, 29958, 13,
];

/** Results stored in a layer: norm 2, q, k, v, rotation 2, scores, softmax, context, output; residual; norm 2, gate, up, silu, product, down; residual. */
const A_LAYER = 20;
/** Row 0 attends to itself alone, with a weight of 1: norm 2, v, context and output are all that its attention rounds. */
const ATTENTION_OF_ROW_0 = 5;
const MLP_OF_ROW_0 = ATTENTION_OF_ROW_0 + 8;
const LAYERS = 22;

interface Figure {
  readonly tap: string;
  readonly row: number;
  readonly first: readonly number[];
  /** Half of the last digit printed. */
  readonly digits: number;
  /** Results stored in f16 on the way. */
  readonly stored: number;
}

const LAST = IDS.length - 1;
const FIGURES: readonly Figure[] = [
  { tap: "embed", row: 0, first: [-9.4414e-5, -0.00236511, 0.01361084], digits: 5e-9, stored: 0 },
  {
    ...{ tap: "blk.0.attn_out", row: 0, digits: 5e-9, stored: ATTENTION_OF_ROW_0 },
    first: [-0.00157833, -0.01169586, -0.0043869],
  },
  { tap: "blk.0.ffn_down", row: 0, first: [0.00267601, 0.0031662, 0.01135254], digits: 5e-9, stored: MLP_OF_ROW_0 },
  {
    ...{ tap: "blk.0.output", row: 0, digits: 5e-9, stored: MLP_OF_ROW_0 + 1 },
    first: [0.00100327, -0.01089478, 0.02056885],
  },
  {
    ...{ tap: "blk.21.output", row: LAST, digits: 5e-9, stored: LAYERS * A_LAYER },
    first: [-2.796875, -1.17871094, -1.42578125],
  },
  {
    ...{ tap: "logits", row: LAST, digits: 5e-9, stored: LAYERS * A_LAYER + 3 },
    first: [-6.5546875, -6.8828125, 2.875],
  },
];
const TOP = [
  [29902, 19.5],
  [10994, 17.578125],
  [18567, 16.59375],
  [6816, 14.359375],
  [3421, 14.2109375],
] as const;

function faultline(...args: string[]): string {
  const command = [PROGRAM, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: root, encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return stdout;
}

const rms = (row: ArrayLike<number>) =>
  Math.sqrt(Array.from(row).reduce((sum, x) => sum + x * x, 0) / Math.max(1, row.length));
const allowance = (row: ArrayLike<number>, { stored, digits }: Pick<Figure, "stored" | "digits">) =>
  6 * U * Math.sqrt(stored) * rms(row) + SUBNORMAL + digits;

describe.skipIf(MODEL === undefined)("TinyLlama-1.1B-Chat (skipped unless FAULTLINE_TINYLLAMA names its GGUF)", () => {
  const folder = mkdtempSync(join(tmpdir(), "faultline-tinyllama-"));
  const path = join(folder, "run.arrow");
  let trace: Trace | undefined;
  beforeAll(async () => {
    const taps = FIGURES.map(({ tap }) => tap).join();
    const run = ["trace", MODEL ?? "", "--tokens", IDS.join(), "--capture", "full", "--taps", taps, "-o", path, "-q"];
    faultline(...run);
    trace = await Trace.open(path);
  });
  afterAll(async () => {
    await trace?.close();
    rmSync(folder, { recursive: true });
  });

  /** A row of a tap; a tap that a run needs for its last token alone (logits) has only that. */
  async function rowOf(tap: string, row: number): Promise<Float32Array> {
    const index = trace?.records.findIndex((record) => record.tap === tap) ?? -1;
    const record = trace?.records[index];
    const values = await trace?.values(index);
    const columns = record?.shape.at(-1);
    if (record === undefined || values == null || columns === undefined) throw new Error(`${tap}: not in the trace`);
    const start = (row - record.posStart) * columns;
    return values.slice(start, start + columns);
  }

  it("has weights that were not quantised", () => {
    expect(trace?.manifest.model.quantisation?.split(" ").every((type) => /^(F16|BF16|F32)$/.test(type))).toBe(true);
  });

  it("its chat has HuggingFace's 38 tokens", () => {
    const chat = ["--system", "You are a friendly chatbot.", "--chat", "Hello! How are you?"];
    expect(tokensSchema.parse(JSON.parse(faultline("tokens", MODEL ?? "", ...chat, "--json"))).ids).toEqual(IDS);
  });

  it.each(FIGURES)("$tap, row $row", async ({ tap, row, first, ...figure }) => {
    const values = await rowOf(tap, row);
    const allowed = allowance(values, figure);
    for (const [i, wanted] of first.entries())
      expect(Math.abs((values[i] ?? Number.NaN) - wanted), `element ${i} of ${tap}`).toBeLessThanOrEqual(allowed);
  });

  it("the five likeliest tokens, in HuggingFace's order wherever rounding cannot turn it", async () => {
    const logits = await rowOf("logits", LAST);
    const allowed = allowance(logits, { stored: LAYERS * A_LAYER + 3, digits: 0 });
    for (const [id, wanted] of TOP) expect(Math.abs((logits[id] ?? Number.NaN) - wanted)).toBeLessThanOrEqual(allowed);
    const least = Math.min(...TOP.map(([, logit]) => logit));
    const others = logits.filter((logit, id) => logit > least + 2 * allowed && TOP.every(([top]) => top !== id));
    expect([...others]).toEqual([]);
    for (const [i, [id, logit]] of TOP.entries()) {
      for (const [below, lower] of TOP.slice(i + 1))
        if (logit - lower > 2 * allowed) expect(logits[id]).toBeGreaterThan(logits[below] ?? Number.NaN);
    }
  });
});
