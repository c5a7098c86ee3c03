/** Logs of llama-eval-callback, JSON lines of statistics; and what statistics alone can say. */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readEvalLog } from "../../references/import/eval-log.ts";
import { compareTraces } from "../../src/compare/compare.ts";
import { Trace } from "../../src/trace/reader.ts";
import { imported, newFolder, refusal, scratchFolder, tensor, writeDump } from "../support/dump-builder.ts";
import { PROGRAM } from "../support/program.ts";

afterAll(() => rmSync(scratchFolder, { recursive: true }));

const ROOT = join(import.meta.dirname, "../..");
const MODEL = join(ROOT, "models/faultline-tiny-f16.gguf");
const LOG = join(ROOT, "test/fixtures/llama-eval-callback.log");
const UBATCHES = join(ROOT, "test/fixtures/llama-eval-callback-ubatches.log");

function fileOf(name: string, content: string): string {
  const path = join(newFolder(), name);
  writeFileSync(path, content);
  return path;
}

async function compared(expected: string, actual: string) {
  const [e, a] = [await Trace.open(expected), await Trace.open(actual)];
  try {
    return await compareTraces(e, a);
  } finally {
    await e.close();
    await a.close();
  }
}

const SILENT = "no statistic is known on both sides, or no RMS to hold it against";

describe("a log of llama-eval-callback", () => {
  const reference = join(newFolder(), "oracle.arrow");

  beforeAll(() => {
    const args = ["trace", MODEL, "--tokens", "256,79", "-n", "0", "--device", "oracle", "--capture", "stats"];
    const { status, stderr } = spawnSync("node", [PROGRAM, ...args, "-q", "-o", reference], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  it("is read with its tokens; what the map asks of statistics that do not survive it is left out", async () => {
    const { facts, trace } = await imported(LOG);
    expect(trace.manifest).toMatchObject({ tokens: [[256, 79]], producer: { name: "llama-eval-callback" } });
    expect(facts).toMatchObject({ records: 63, unknown: [], replaced: [] });
    const names = [0, 1, 2, 3].flatMap((n) => [`kq-${n}`, `kq_soft_max-${n}`]);
    expect(facts.leftOut).toEqual(names.map((name) => ({ name, reason: "its statistics count the padding" })));
    const embed = trace.records.find(({ tap }) => tap === "embed");
    expect(embed).toMatchObject({
      hash: 0n,
      hasValues: false,
      hasSketch: false,
      rowRms: new Float32Array(2).fill(Number.NaN),
    });
    expect(embed?.statistics).toMatchObject({ count: 512, nanCount: 0, rms: Number.NaN, max: Number.NaN });
  });

  it("has the means of the oracle", async () => {
    const oracle = await Trace.open(reference);
    const { records } = await imported(LOG);
    let held = 0;
    for (const { tap, statistics, shape } of oracle.records) {
      const record = records.get(tap);
      if (record === undefined || record.shape[0] !== shape[0]) continue;
      held++;
      // f16 weights: llama.cpp rounds activations to f16, 2^-11; the model is four layers deep.
      expect(Math.abs(record.statistics.mean - statistics.mean)).toBeLessThan(statistics.rms * 2 ** -11);
    }
    expect(held).toBe(54);
    await oracle.close();
  });

  it("matches the oracle as far as it can tell; what it cannot tell is unmatched", async () => {
    const { trace } = await imported(LOG, { dtype: "f16" });
    for (const [e, a] of [
      [reference, trace.path],
      [trace.path, reference],
    ] as const) {
      const { verdict, ops, totals, unmatched } = await compared(e, a);
      expect(verdict).toBe("match");
      expect(ops.length).toBe(54);
      expect(new Set(ops.map(({ evidence }) => evidence))).toEqual(new Set(["statistics"]));
      const silent = unmatched.filter(({ reason }) => reason === SILENT);
      // The last layer's last row stands against both rows of the oracle: no mean of that row alone is known.
      expect(silent.map(({ side, tap }) => `${side} ${tap}`).sort()).toEqual(
        ["expected", "actual"]
          .flatMap((side) =>
            ["attn_residual", "ffn_act", "ffn_down", "ffn_gate", "ffn_norm", "ffn_up", "output"]
              .map((tap) => `${side} blk.3.${tap}`)
              .concat([`${side} final_norm`, `${side} logits`]),
          )
          .sort(),
      );
      expect(totals.matched + unmatched.filter(({ side }) => side === "actual").length).toBe(totals.actual);
      expect(totals.unmatched).toBe(unmatched.length);
    }
  });

  it("has sums of a last row alone that are held against values of that row", async () => {
    const full = join(newFolder(), "full.arrow");
    const args = ["trace", MODEL, "--tokens", "256,79", "-n", "0", "--device", "oracle", "--capture", "full"];
    spawnSync("node", [PROGRAM, ...args, "-q", "-o", full]);
    const { trace } = await imported(LOG, { dtype: "f16" });
    for (const [e, a] of [
      [full, trace.path],
      [trace.path, full],
    ] as const) {
      const { verdict, ops, unmatched } = await compared(e, a);
      expect({ verdict, ops: ops.length }).toEqual({ verdict: "match", ops: 63 });
      expect(unmatched.every(({ reason }) => reason.endsWith("no such tap"))).toBe(true);
    }
    const text = readFileSync(LOG, "utf8");
    const logits = text.replace(
      /( result_output = [^=]*?= \{.*?sum = )(\S+)/s,
      (_, before, sum) => `${before}${Number(sum) * 1.5}`,
    );
    const { ops } = await compared(full, (await imported(fileOf("wrong.log", logits), { dtype: "f16" })).trace.path);
    expect(ops.filter(({ isOrigin }) => isOrigin).map(({ tap }) => tap)).toEqual(["logits"]);
  });

  it("shows the first sum that is wrong", async () => {
    const text = readFileSync(LOG, "utf8");
    const wrong = text.replace(
      /( ffn_out-1 = [^=]*?= \{.*?sum = )(\S+)/s,
      (_, before, sum) => `${before}${Number(sum) + 60}`,
    );
    expect(wrong).not.toBe(text);
    const { trace } = await imported(fileOf("wrong.log", wrong), { dtype: "f16" });
    const { verdict, ops } = await compared(reference, trace.path);
    expect(verdict).toBe("divergent");
    expect(ops.filter(({ isOrigin }) => isOrigin).map(({ tap }) => tap)).toEqual(["blk.1.ffn_down"]);
  });

  it("with NaN and Inf in sums is a finding", async () => {
    const text = readFileSync(LOG, "utf8");
    for (const [printed, counts] of [
      ["-nan", { nanCount: 1, infCount: 0 }],
      ["inf", { nanCount: 0, infCount: 1 }],
    ] as const) {
      const wrong = text.replace(/( l_out-2 = [^=]*?= \{.*?sum = )(\S+)/s, `$1${printed}`);
      const { trace, records } = await imported(fileOf("wrong.log", wrong), { dtype: "f16" });
      expect(records.get("blk.2.output")?.statistics).toMatchObject({ ...counts, mean: Number.NaN });
      const { ops } = await compared(reference, trace.path);
      expect(ops.filter(({ verdict }) => verdict === "non-finite").map(({ tap }) => tap)).toEqual(["blk.2.output"]);
    }
  });

  it("of micro-batches has a step for each, without what has no rows", async () => {
    const { facts, trace } = await imported(UBATCHES);
    expect(trace.manifest.tokens).toEqual([[256, 79, 110], [395]]);
    expect(facts).toMatchObject({ records: 54 + 63, steps: 2, unknown: [] });
    expect(trace.records.filter(({ step }) => step === 1)[0]).toMatchObject({
      tap: "embed",
      posStart: 3,
      shape: [1, 256],
    });
    const empty = facts.leftOut.filter(({ reason }) => reason === "has no elements").map(({ name }) => name);
    expect(empty).toContain("result_output");
    expect(await refusal(UBATCHES, { tokens: [[256, 79, 110, 395]] })).toMatch(
      /2 forward passes in the log, but 1 in --tokens/,
    );
    expect(
      await refusal(UBATCHES, {
        tokens: [
          [256, 79],
          [110, 395],
        ],
      }),
    ).toMatch(/line 10 \(embd\): shape \[3, 256\] is not/);
  });

  it("of older builds, in colours, without tokens or cut short", async () => {
    const text = readFileSync(LOG, "utf8");
    const older = text.replaceAll("common_debug_cb_eval:", "\u001b[0mggml_debug:").replaceAll("\n", "\r\n");
    expect((await imported(fileOf("old.log", older))).facts.records).toBe(63);
    const bare = fileOf("bare.log", text.slice(text.indexOf("common_debug")));
    expect(await refusal(bare)).toMatch(/does not say which tokens ran; give them with --tokens/);
    expect((await imported(bare, { tokens: [[256, 79]] })).facts.records).toBe(63);
    expect(await refusal(LOG, { tokens: [[256, 80]] })).toMatch(/prints other tokens \(256,79\.\.\.\) than --tokens$/);
    const cut = text.slice(0, text.indexOf("sum =", text.indexOf(" ffn_gate-2 =")));
    expect((await imported(fileOf("cut.log", cut))).facts.leftOut).toContainEqual({
      name: "ffn_gate-2",
      reason: "the log has no sum of it",
    });
    expect(await refusal(fileOf("other.log", "some text\n"))).toMatch(/is none of a folder with dump\.json, /);
  });

  it("names weights and products as the dumper does", () => {
    const { tensors } = readEvalLog(LOG, { dtype: "f16" });
    const of = (name: string, op: string) => tensors.find((each) => each.name === name && each.op === op);
    expect(of("Qcur-1", "MUL_MAT")).toMatchObject({ weight: "blk.1.attn_q.weight", dtype: "f16", shape: [2, 256] });
    expect(of("Qcur-1", "ROPE")).toMatchObject({ weight: "", dtype: "f32", shape: [2, 8, 32] });
    expect(of("kq-1", "MUL_MAT")).toMatchObject({ weight: "", dtype: "f32", shape: [8, 2, 256] });
    expect(of("Qcur-1", "RESHAPE")).toBeUndefined();
  });
});

describe("JSON lines of statistics", () => {
  const lines = (...values: unknown[]) =>
    fileOf("s.jsonl", values.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join("\n"));
  const header = {
    faultline_statistics: 1,
    producer: { name: "me", dtype: "f16" },
    steps: [{ pos_start: 0, tokens: [1, 2] }],
  };
  const embed = { name: "embed", shape: [2, 3] };

  it("become records of what is known", async () => {
    const known = { mean: 0.5, rms: 2, min: -3, max: 2, zero_count: 1 };
    const { records, trace } = await imported(
      lines(header, { ...embed, ...known }, "", { name: "logits", shape: [2, 9], mean: null, nan_count: 18 }),
    );
    expect(trace.manifest.producer).toMatchObject({ name: "me" });
    expect(records.get("embed")).toMatchObject({
      dtype: "f16",
      ...{ hash: 0n, values: null, sketch: new Float32Array(0), rowRms: new Float32Array(2).fill(Number.NaN) },
      statistics: { count: 6, nanCount: 0, zeroCount: 1, min: -3, max: 2, maxAbs: 3, mean: 0.5, rms: 2 },
    });
    expect(records.get("logits")?.statistics).toMatchObject({ nanCount: 18, mean: Number.NaN });
    expect((await imported(lines(embed), { tokens: [[1, 2]] })).facts.records).toBe(1);
  });

  it("name the line that is wrong", async () => {
    const said = (...values: unknown[]) => refusal(lines(header, ...values));
    expect(await said(embed, "{")).toMatch(/s\.jsonl: line 3: not JSON/);
    expect(await said({ ...embed, shape: [-1] })).toMatch(/line 2: shape\.0: .*; see docs/);
    expect(await said({ ...embed, size: 3 })).toMatch(/line 2: line: .*"size"/);
    expect(await said({ ...embed, step: 1 })).toMatch(/line 2 \(embed\) is of step 1, but there are 1 step;/);
    expect(await said({ ...embed, nan_count: 7 })).toMatch(
      /line 2: embed of shape \[2, 3\] has 7 NaN, .* but 6 elements$/,
    );
    expect(await said({ ...embed, mean: 3, rms: 1 })).toMatch(/has statistics that contradict one another/);
    expect(await said({ ...embed, min: 3, max: 1 })).toMatch(/has statistics that contradict one another/);
    expect(await said({ ...embed, shape: [16777216, 16777216] })).toMatch(/elements; 4294967295 are the most/);
    expect(await said({ ...embed, shape: [16777217] })).toMatch(/line 2: shape\.0: /);
    expect(await said({ ...embed, shape: [3, 3] })).toMatch(/line 2: shape \[3, 3\] is not token embd/);
    expect(await refusal(lines({ ...header, steps: 5 }, embed))).toMatch(/line 1: steps: /);
    expect(await refusal(lines(header))).toMatch(/has a header and no tensor/);
    expect(await refusal(lines(""))).toMatch(/has no line/);
    expect(await refusal(lines(embed))).toMatch(/does not say which tokens ran/);
  });

  it("keep scores only where nothing is masked", async () => {
    const map = {
      faultline_map: 1,
      rules: [
        { name: "s", tap: "blk.0.attn_scores" },
        { name: "embed", tap: "embed" },
      ],
    };
    const steps = [
      { pos_start: 0, tokens: [1, 2] },
      { pos_start: 2, tokens: [3] },
    ];
    const path = lines(
      { ...header, names: "m.json", steps },
      embed,
      { name: "s", shape: [4, 2, 2], mean: 1 },
      { step: 1, name: "s", shape: [4, 1, 3], mean: 1 },
    );
    writeFileSync(join(path, "../m.json"), JSON.stringify(map));
    const { records, facts } = await imported(path);
    expect([...records.keys()]).toEqual(["embed", "1 blk.0.attn_scores"]);
    expect(facts.leftOut).toEqual([{ name: "s", reason: "its statistics count masked places" }]);
  });

  describe("compared", () => {
    const values = [0.5, -1, 2, 1, 0, 3];
    const rms = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / 6);
    const truth = async (capture: "full" | "stats" = "full") => {
      const made = await imported(
        writeDump({ tensors: [tensor("embed", [2, 3], values), tensor("blk.0.attn_norm", [2, 3], values)] }),
        { capture },
      );
      return made.trace.path;
    };
    const against = async (known: object, other: object = { mean: 5.5 / 6 }) => {
      const norm = { name: "blk.0.attn_norm", shape: [2, 3] };
      const { trace } = await imported(
        lines({ ...header, producer: { name: "me" } }, { ...embed, ...other }, { ...norm, ...known }),
      );
      const { ops, unmatched, verdict } = await compared(await truth(), trace.path);
      return {
        verdict,
        norm: ops.find(({ tap }) => tap === norm.name),
        unmatched: unmatched.map(({ side, tap, reason }) => `${side} ${tap}: ${reason}`),
      };
    };

    it.each([{ mean: 5.5 / 6 }, { rms }, { max: 3 }, { min: -1 }, { max_abs: 3 }])(
      "agree by %o alone",
      async (known) => {
        expect(await against(known)).toMatchObject({
          verdict: "match",
          norm: { verdict: "alike", evidence: "statistics" },
          unmatched: [],
        });
      },
    );

    it.each([{ mean: 0.95 }, { rms: rms * 1.01 }, { max: 3.1 }, { min: -1.1 }, { max_abs: 3.1 }])(
      "differ by %o alone",
      async (known) => {
        expect(await against(known)).toMatchObject({ verdict: "divergent", norm: { verdict: "numeric" } });
      },
    );

    it("say nothing where nothing is known", async () => {
      const why = SILENT;
      const silent = [`expected blk.0.attn_norm: ${why}`, `actual blk.0.attn_norm: ${why}`];
      expect(await against({})).toEqual({ verdict: "match", norm: undefined, unmatched: silent });
      expect(await against({ nan_count: 0, zero_count: 1 })).toEqual({
        verdict: "match",
        norm: undefined,
        unmatched: silent,
      });
      expect(await against({ nan_count: 1 })).toMatchObject({
        verdict: "divergent",
        norm: { verdict: "non-finite" },
        unmatched: [],
      });
      await expect(against({}, {})).rejects.toThrow(
        /nothing can be held against one another in 2 pairs of records \(no statistic/,
      );
    });

    it("need a size: two means without one have no scale", async () => {
      const known = lines(header, { ...embed, mean: 1 });
      const { trace } = await imported(known);
      await expect(compared(trace.path, trace.path)).rejects.toThrow(/nothing can be held against one another/);
    });

    it("are what inspect shows, null where nothing is known", async () => {
      const { trace } = await imported(lines(header, { ...embed, mean: 0.25 }));
      const args = ["inspect", trace.path, "--tap", "*", "--json"];
      const { stdout, status } = spawnSync("node", [PROGRAM, ...args], {
        encoding: "utf8",
      });
      expect(status).toBe(0);
      expect(JSON.parse(stdout).taps).toMatchObject([{ mean: 0.25, rms: null, min: null, hash: "0000000000000000" }]);
    });
  });
});
