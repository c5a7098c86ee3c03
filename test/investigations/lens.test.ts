/** "Logits collapse": the logit lens, layers left out, and runs side by side; a collapse is flagged at its first layer. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { divergences, type HiddenRow, lensOf } from "../../src/compare/lens.ts";
import { openModel } from "../../src/model/model.ts";
import { Oracle } from "../../src/oracle/oracle.ts";
import { lensSchema } from "../../src/report/lens.ts";
import { isResidualStream } from "../../src/trace/taps.ts";
import { expectRefused, faultline } from "../support/cli.ts";
import { syntheticLlamaFile } from "../support/synthetic-llama.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const PROMPT = [256, 1057, 261, 1907, 1079];
const folder = mkdtempSync(join(tmpdir(), "faultline-lens-"));

const lens = (...args: string[]) => {
  const { status, stdout, stderr } = faultline("lens", MODEL, "--tokens", PROMPT.join(), "--json", "--quiet", ...args);
  expect(status, stderr).toBe(0);
  return lensSchema.parse(JSON.parse(stdout));
};

describe("the lens over the oracle's own rows", async () => {
  const model = await openModel(MODEL);
  const hidden: HiddenRow[] = [];
  const { embd } = model.parameters;
  const oracle = new Oracle(model);
  const logits = oracle.step(0, PROMPT, ({ tap }, { data }) => {
    if (isResidualStream(tap)) hidden.push({ tap, row: Float32Array.from(data.subarray(data.length - embd)) });
  });
  const found = lensOf(model, hidden, 5);

  it("the last row gives the run's own logits", () => {
    const own = [...logits].map((x, id) => [x, id] as const).sort(([a], [b]) => b - a);
    const top = found.rows.at(-1)?.top ?? [];
    expect(top.map(({ id }) => id)).toEqual(own.slice(0, 5).map(([, id]) => id));
    for (const [i, { logit }] of top.entries()) expect(logit).toBeCloseTo(own[i]?.[0] as number, 4);
    expect(found.rows.at(-1)?.low).toBeCloseTo(own.at(-1)?.[0] as number, 4);
    expect(found.rows.at(-1)?.kl).toBe(0);
    expect(found.collapse).toBeNull();
  });

  it("probabilities add up to one, and entropy lies between 0 and uniform", () => {
    for (const { logProbabilities, entropy } of found.rows) {
      expect(logProbabilities?.reduce((sum, lp) => sum + Math.exp(lp), 0)).toBeCloseTo(1, 12);
      expect(entropy).toBeGreaterThan(0);
      expect(entropy).toBeLessThan(found.uniform);
    }
    expect(divergences(found, found)).toEqual(found.rows.map(() => 0));
  });

  it("rows that tell nothing are flat, and rows that are not finite are said to be; the first of them is the collapse", () => {
    const at = (layer: number, x: number) =>
      lensOf(
        model,
        hidden.map(({ tap, row }, i) => ({ tap, row: i > layer ? new Float32Array(embd).fill(x) : row })),
        3,
      );
    expect(at(1, 0).collapse).toMatchObject({ tap: "blk.1.output", isFlat: true, low: 0, high: 0 });
    expect(at(1, 0).rows.map(({ isFlat }) => isFlat)).toEqual([false, false, true, true, true]);
    expect(at(2, Number.NaN).collapse).toMatchObject({ tap: "blk.2.output", isFlat: false, top: [], entropy: null });
    expect(at(2, Number.NaN).rows[0]?.kl).toBeNull();
  });
});

describe("faultline lens", () => {
  it("runs side by side: rounding is small at every layer", () => {
    const { runs, sentence } = lens("--vs", "f16,oracle");
    expect(runs.map(({ name }) => name)).toEqual(["f32", "f16", "oracle"]);
    expect(sentence).toBe("no collapse: after every layer some tokens stand out");
    for (const kl of runs[2]?.kl_from_first ?? []) expect(kl).toBeLessThan(1e-9);
    for (const kl of runs[1]?.kl_from_first ?? []) expect(kl).toBeLessThan(1e-4);
    expect(runs[1]?.kl_from_first.some((kl) => kl !== null && kl > 1e-9)).toBe(true);
  });

  it("layers left out: the rows that remain", () => {
    expect(lens("--layers", "0-1,3").runs[0]?.rows.map(({ tap }) => tap)).toEqual([
      ...["embed", "blk.0.output", "blk.1.output", "blk.3.output"],
    ]);
    expect(lens("--layers", "none").runs[0]?.rows.map(({ tap }) => tap)).toEqual(["embed"]);
  });

  it("NaN is flagged at its first layer, and the run beside it is without", () => {
    const { runs, sentence } = lens("--fault", "memory.nan@blk.2.ffn_down", "--vs", "oracle");
    expect(runs.map(({ collapse }) => collapse)).toEqual(["blk.2.output", null]);
    expect(sentence).toMatch(
      /^blk\.2\.output is the first after which logits are not finite .*; oracle does not collapse$/,
    );
  });

  it("a trace beside it, and traces that do not fit", () => {
    const path = join(folder, "a.arrow");
    const traced = faultline(
      ...["trace", MODEL, "--tokens", PROMPT.join(), "-n", "1", "--capture", "full", "-o", path, "--quiet"],
      ...["--fault", "attn.scale-missing@blk.1.attn_scores"],
    );
    expect(traced.status, traced.stderr).toBe(0);
    const [, mine] = lens("--vs", path).runs;
    expect(mine?.kl_from_first.slice(0, 2)).toEqual([0, 0]);
    expect(mine?.kl_from_first[2]).toBeGreaterThan(1e-3);

    const refused = (words: RegExp, ...args: string[]) => expectRefused(["lens", MODEL, ...args], words);
    refused(/other tokens from position 4 on/, "--tokens", [...PROMPT.slice(0, 4), 5].join(), "--vs", path, "--quiet");
    refused(/5 tokens in its first step, 4 here/, "--tokens", PROMPT.slice(0, 4).join(), "--vs", path, "--quiet");
    refused(
      /head\.norm-missing@final_norm: would change nothing here/,
      "--tokens",
      "1",
      "--fault",
      "head.norm-missing",
    );
    refused(/--vs f64: there are f32, f16, oracle, and traces/, "--tokens", "1", "--vs", "f64", "--quiet");
  });

  it("traces of another model are refused: by their width, and by their digest where all sizes are alike", () => {
    const traceOf = (model: string, name: string) => {
      const path = join(folder, `${name}.arrow`);
      const run = ["trace", model, "--tokens", "3,4", "-n", "0", "--capture", "full", "-o", path, "--quiet"];
      const { status, stderr } = faultline(...run);
      expect(status, stderr).toBe(0);
      return path;
    };
    const own = syntheticLlamaFile({ seed: 1 });
    const twin = traceOf(syntheticLlamaFile({ seed: 2 }), "twin");
    const wide = traceOf(syntheticLlamaFile({ embd: 128, headDim: 16 }), "wide");
    for (const [path, words] of [
      [
        twin,
        /twin\.arrow was made from .* with sha256 [0-9a-f]{12}, .* has [0-9a-f]{12}; give the model that was run$/,
      ],
      [wide, /wide\.arrow is of .* \(embd 128\), .* has embd 64; give the model that was run$/],
    ] as const) {
      expectRefused(["lens", own, "--tokens", "3,4", "--vs", path, "--quiet"], words);
    }
    const same = faultline("lens", own, "--tokens", "3,4", "--vs", traceOf(own, "own"), "--json", "--quiet");
    expect(same.status, same.stderr).toBe(0);
    for (const kl of lensSchema.parse(JSON.parse(same.stdout)).runs[1]?.kl_from_first ?? [Number.NaN])
      expect(kl).toBe(0);
  });
});
