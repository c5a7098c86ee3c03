/** `faultline kernels`: histories, alarms, and what is refused. What kernels get right and wrong is tested in test/compare/kernels.test.ts. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { againstHistory, type HistoryRow, RISE, readHistory, saveHistory } from "../../src/compare/kernels/baseline.ts";
import type { KernelJudgement } from "../../src/compare/kernels/judge.ts";
import { pairedRatio } from "../../src/compare/kernels/paired.ts";
import { uniform } from "../../src/compare/kernels/random.ts";
import { kernelsSchema } from "../../src/report/kernels.ts";
import { expectRefused, faultline } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-kernels-"));

function tried(...options: string[]) {
  const { status, stdout, stderr } = faultline("kernels", "--json", "--quiet", "--no-time", ...options);
  expect(stdout, stderr).not.toBe("");
  return { status, ...kernelsSchema.parse(JSON.parse(stdout)) };
}

describe("a kernel's history", () => {
  const file = join(folder, "history.arrow");

  it("the same kernels give the same errors; a bug within the bound is an alarm, one beyond it a failure", () => {
    const first = tried("--filter", "rms_norm 7x576", "--save", file);
    expect([first.status, first.verdict, first.cases.length, first.baseline]).toEqual([0, "pass", 8, null]);
    expect(readHistory(file).map((row) => row.case)).toEqual(first.cases.map(({ id }) => id));

    const again = tried("--filter", "rms_norm 7x576", "--baseline", file, "--alarms-fail", "--save", file);
    expect(again.status).toBe(0);
    expect(again.baseline).toMatchObject({ compared: 8, unknown: 0, alarms: [] });
    expect(readHistory(file)).toHaveLength(16);
    expect(existsSync(`${file}.partial`)).toBe(false);

    // An eps of 1.05e-5 for 1e-5 moves rows of RMS 1 by 2.5e-7: within what f32 explains, and more than 1.5 times what it was.
    const one = ["--filter", "rms_norm 7x576 normal f32", "--baseline", file, "--fault", "norm.eps:1.05e-5"];
    const risen = tried(...one);
    expect([risen.status, risen.verdict]).toEqual([0, "pass"]);
    expect(risen.baseline?.alarms).toEqual([expect.objectContaining({ case: "rms_norm 7x576 F32 normal f32" })]);
    expect(tried(...one, "--alarms-fail").status).toBe(1);

    const wrong = tried("--filter", "rms_norm 7x576", "--baseline", file, "--fault", "norm.eps:1e-3");
    expect([wrong.status, wrong.verdict]).toEqual([1, "fail"]);
    expect(tried("--filter", "rms_norm 3x31", "--baseline", file).baseline).toMatchObject({ compared: 0, unknown: 8 });
  });

  it("bad input is refused in one line, and nothing is written", () => {
    const text = join(folder, "text.arrow");
    writeFileSync(text, "no arrow");
    const trace = join(folder, "embedded.arrow");
    copyFileSync(join(import.meta.dirname, "../../models/faultline-tiny-f16.gguf"), trace);
    for (const [args, words] of [
      [["--baseline", join(folder, "none.arrow")], /none\.arrow: no such file; write it with --save/],
      [["--baseline", text], /text\.arrow: .*give a file that 'faultline kernels --save' wrote/],
      [["--save", trace], /embedded\.arrow: .*give a file that 'faultline kernels --save' wrote/],
      [["--save", join(folder, "new.arrow"), "--fault", "norm.eps"], /a run with a planted bug is no history/],
      [["--filter", "conv2d"], /--filter 'conv2d': no case has these words/],
      [["--fault", "kv.k-unrotated"], /kv\.k-unrotated: needs a whole run/],
      [["--filter", "attn", "--fault", "kv.stale"], /needs other ops than blk\.0\.attn_scores/],
      [["--device", "oracle"], /Allowed choices are auto, hardware, software/],
    ] as const) {
      expectRefused(["kernels", ...args], words);
    }
    expect(existsSync(join(folder, "new.arrow"))).toBe(false);
  });
});

describe("a rise of error", () => {
  const judgement = (id: string, relL2: number): KernelJudgement => ({
    case: { id, kind: "add", shape: "1x1", type: null, data: "normal", dtype: "f32" },
    ...{ verdict: "pass", reasons: [], nmse: relL2 ** 2, worstRowNmse: 0, ofLikely: 0, ofWorst: 0 },
    ...{ milliseconds: null, bytes: 1, operations: 1 },
  });
  const row = (id: string, relL2: number, adapter = "here"): HistoryRow => ({
    ...{
      case: id,
      adapter,
      version: "1",
      created: "2026-01-01T00:00:00Z",
      relL2,
      ofBound: 0,
      milliseconds: Number.NaN,
    },
  });
  const figure = fc.double({ min: 1e-9, max: 1e-3, noNaN: true });

  it("is one above 1.5 times the largest of the case's history on this adapter, and no other", () => {
    fc.assert(
      fc.property(
        fc.array(figure, { minLength: 1, maxLength: 5 }),
        fc.double({ min: 0.1, max: 3, noNaN: true }),
        (errors, by) => {
          fc.pre(Math.abs(by - RISE) > 1e-6);
          const largest = Math.max(...errors);
          const history = [...errors.map((error) => row("a", error)), row("a", 1, "elsewhere"), row("b", 1)];
          const { rises, compared, adapters } = againstHistory("h", history, [judgement("a", by * largest)], "here");
          expect([compared, adapters, rises.length]).toEqual([1, ["here"], by > RISE ? 1 : 0]);
        },
      ),
    );
  });

  it("errors alone are compared where the history is of another adapter; from 0 and to NaN is a rise", () => {
    const facts = againstHistory("h", [row("a", 0, "there")], [judgement("a", 1e-9), judgement("b", 1)], "here");
    expect(facts).toMatchObject({ adapters: ["there"], compared: 1, unknown: 1, rises: [{ case: "a", before: 0 }] });
    expect(againstHistory("h", [row("a", 1)], [judgement("a", Number.NaN)], "here").rises).toHaveLength(1);
    expect(againstHistory("h", [row("a", 0)], [judgement("a", 0)], "here").rises).toEqual([]);
  });

  it("a file holds what was saved, run after run", () => {
    const path = join(folder, "kept.arrow");
    const [one, two] = [row("a", 1.25e-7), { ...row("b", 3e-9), milliseconds: 0.5 }];
    saveHistory(path, [one]);
    saveHistory(path, [two]);
    expect(readHistory(path)).toEqual([one, two]);
  });
});

const source = (file: string) => readFileSync(join(import.meta.dirname, "../../kernels", file), "utf8");

describe("another version of the kernels", () => {
  const version = (name: string, file: string, find: string, replace: string) => {
    const dir = join(folder, name);
    mkdirSync(dir);
    expect(source(file)).toContain(find);
    writeFileSync(join(dir, file), source(file).replace(find, replace));
    return dir;
  };
  const against = (dir: string, ...options: string[]) =>
    tried("--filter", "rms_norm 7x576", "--against-kernels", dir, ...options);

  it("is told by its bits and errors; one that fails is not this version's failure", () => {
    const other = against(version("order", "rms_norm.wgsl", "scale * gain[e]", "(scale * gain[e])"));
    expect(other.status).toBe(0);
    expect(other.other_version?.cases).toHaveLength(8);
    expect(other.other_version?.cases[0]).toMatchObject({ verdict: "pass", same_bits: false, time: null });

    const wrong = against(version("wrong", "rms_norm.wgsl", "f32(EMBD) + EPS", "f32(EMBD) + 2.0 * EPS"));
    expect([wrong.status, wrong.verdict]).toEqual([0, "pass"]);
    expect(wrong.other_version?.cases.some(({ verdict }) => verdict === "fail")).toBe(true);

    const same = against(version("same", "rms_norm.wgsl", "f32(EMBD) + EPS", "f32(EMBD) + EPS + 0.0"));
    expect(same.other_version?.cases.every((each) => each.same_bits)).toBe(true);
    expect(against(version("add", "add.wgsl", "a[i] + b[i]", "b[i] + a[i]")).other_version?.cases).toEqual([]);
  });

  it("a `linear` of its own is what runs, on adapters too where this program has another; one of its own for these is seen", () => {
    const linear = (dir: string) =>
      tried("--filter", "linear 1x256x256+bias F32 normal f32", "--against-kernels", dir).other_version;
    const wrong = linear(version("product", "weight_blocks.wgsl", "sum += bias[n]", "sum -= bias[n]"));
    expect(wrong?.cases.some(({ verdict }) => verdict === "fail")).toBe(true);
    const shared = linear(version("shared", "linear_subgroup.wgsl", "\n", "\n// another text\n"));
    expect(shared?.cases.length).toBeGreaterThan(0);
    expect(shared?.cases.every((each) => each.same_bits)).toBe(true);
  });

  it("a whole folder in the place of this program's: the `linear` of every adapter is tried too, and one's own before all", () => {
    const dir = version("whole", "weight_blocks.wgsl", "sum += bias[n]", "sum -= bias[n]");
    writeFileSync(join(dir, "linear_subgroup.wgsl"), source("linear_subgroup.wgsl"));
    const words = ["--filter", "1x256x256+bias F32 normal f32", "--kernels", dir];
    const whole = tried(...words);
    expect(whole.cases.find(({ id }) => id.startsWith("linear portable"))?.verdict).toBe("fail");
    const own = tried(...words, "--wgsl", join(dir, "weight_blocks.wgsl"), "--as", "linear");
    expect([own.status, own.cases.map(({ verdict }) => verdict)]).toEqual([1, ["fail"]]);
  });

  it("one that cannot be run is refused in one line", () => {
    const run = ["kernels", "--no-time", "--filter", "rms_norm 7x576", "--against-kernels"];
    expectRefused(
      [...run, version("damaged", "rms_norm.wgsl", "fn rms_norm", "function rms_norm")],
      /damaged\/rms_norm\.wgsl:\d+: /,
    );
    expectRefused(
      [...run, version("unbound", "rms_norm.wgsl", "@binding(2)", "@binding(7)")],
      /unbound: does not take rms_norm 7x576 .*bindings, constants and workgroups are those of kernels\/rms_norm/,
    );
    expectRefused([...run, folder], /has none of weight_blocks\.wgsl, linear_subgroup\.wgsl, rms_norm\.wgsl/);
    expectRefused(
      [...run.slice(0, -1), "--kernels", version("elsewhere", "rope.wgsl", "RoPE", "Rotary")],
      /elsewhere: none of its kernels computes a case that is tried; change --filter/,
    );
    expectRefused(
      [...run, version("uncalled", "attn_ctx.wgsl", "// call 2\n", "")],
      /attn_ctx\.wgsl: is written for call 1, this program makes call 2 of attn_ctx .*or leave it out/,
    );
  });
});

describe("kernels that are no op's", () => {
  it("are tried, planted with faults, saved and held against other versions as the others are", () => {
    const file = join(folder, "chores.arrow");
    const words = ["--filter", "kv_store 1x192"];
    const clean = tried(...words, "--save", file);
    expect([clean.status, clean.cases.length]).toEqual([0, 8]);
    expect(tried(...words, "--baseline", file).baseline).toMatchObject({ compared: 8, alarms: [] });
    const late = tried(...words, "--fault", "kv.slot-plus-one");
    expect([late.status, late.cases.every(({ reasons }) => reasons.includes("border"))]).toEqual([1, true]);

    const dir = join(folder, "rounding");
    mkdirSync(dir);
    writeFileSync(join(dir, "round_half.wgsl"), source("round_half.wgsl").replace("+ 0xfffu +", "+ 0x1000u + 0u *"));
    const { other_version, verdict } = tried("--filter", "round_half 257", "--against-kernels", dir);
    expect(verdict).toBe("pass");
    expect(other_version?.cases).toHaveLength(8);
    const mixed = other_version?.cases.find(({ id }) => id === "round_half 257 edges f32");
    expect(mixed).toMatchObject({ verdict: "fail", same_bits: false });

    const mine = join(folder, "store.wgsl");
    writeFileSync(mine, source("kv_store.wgsl"));
    expect(tried("--wgsl", mine, "--as", "kv_store", "--filter", "5x33").cases).toHaveLength(8);
  });
});

describe("ONNX Runtime beside the kernels", () => {
  it("says for each case what it gave, or why it says nothing", () => {
    const { onnx_version, cases } = tried("--filter", "5x33");
    expect(onnx_version).toMatch(/^\d+\.\d+/);
    for (const { kernel, onnx, onnx_absent } of cases) {
      const isOp = !["kv_store", "round_half", "row_statistics"].includes(kernel);
      expect([onnx?.agrees_with_oracle ?? null, onnx_absent === null]).toEqual([isOp ? true : null, isOp]);
    }
    expect(new Set(cases.map(({ kernel }) => kernel)).size).toBeGreaterThan(5);
    const without = tried("--filter", "add 5x33", "--no-onnx");
    expect([without.onnx_version, without.cases[0]?.onnx]).toEqual([null, null]);
    expect(without.cases.every(({ onnx_absent }) => onnx_absent === "--no-onnx")).toBe(true);
  });

  it("speaks against a kernel that the oracle finds wrong", () => {
    const { status, stdout } = faultline(
      ...["kernels", "--quiet", "--no-time", "--filter", "swiglu 5x33 normal f32", "--fault", "act.gelu-tanh"],
    );
    expect([status, stdout]).toEqual([1, expect.stringMatching(/ONNX Runtime agrees with the oracle against it/)]);
  });
});

describe("a kernel of one's own", () => {
  const mine = join(folder, "mine.wgsl");
  it("is tried in the place of this program's: a right one passes, a wrong one fails, with its name", () => {
    const own = source("rms_norm.wgsl");
    // Another order of the sum: one thread, one term after the other.
    writeFileSync(mine, own.replace("scale * gain[e]", "(gain[e] * scale)"));
    const right = tried("--wgsl", mine, "--as", "rms_norm");
    expect([right.status, right.cases.length]).toEqual([0, 80]);
    writeFileSync(mine, own.replace("/ f32(EMBD) + EPS", "/ f32(EMBD)"));
    const wrong = tried("--wgsl", mine, "--as", "rms_norm", "--filter", "normal");
    expect([wrong.status, wrong.cases.every(({ kernel }) => kernel === "rms_norm")]).toEqual([1, true]);
  });

  it("what does not compile or fit is refused with its line", () => {
    writeFileSync(mine, `\n${source("rms_norm.wgsl").replace("fn rms_norm", "fn norm")}`);
    expectRefused(
      ["kernels", "--wgsl", mine, "--as", "rms_norm"],
      /mine\.wgsl: does not take rms_norm 1x1 .*entry point/,
    );
    writeFileSync(mine, "\n\nnonsense");
    expectRefused(["kernels", "--wgsl", mine, "--as", "rms_norm"], /mine\.wgsl:3: /);
    expectRefused(["kernels", "--wgsl", mine], /--wgsl and --as go together/);
    expectRefused(["kernels", "--wgsl", mine, "--as", "conv"], /--as conv: no such op; there are .*rms_norm/);
    expectRefused(["kernels", "--alarms-fail"], /--alarms-fail goes with a history; give one with --baseline/);
    expectRefused(["kernels", "--wgsl", join(folder, "none.wgsl"), "--as", "add"], /none\.wgsl: no such file/);
  });
});

describe("a ratio of paired times", () => {
  it("lies within its interval, which is wider the surer it must be", () => {
    const time = fc.double({ min: 0.1, max: 10, noNaN: true });
    fc.assert(
      fc.property(fc.array(fc.tuple(time, time), { minLength: 6, maxLength: 40 }), (pairs) => {
        const [own, other] = [pairs.map(([a]) => a), pairs.map(([, b]) => b)];
        const [sure, surer] = [pairedRatio(own, other, 0.05), pairedRatio(own, other, 0.001)];
        expect(sure.low).toBeLessThanOrEqual(sure.median);
        expect(sure.median).toBeLessThanOrEqual(sure.high);
        expect([surer.low <= sure.low, surer.high >= sure.high]).toEqual([true, true]);
        expect(pairedRatio(own, own, 0.05)).toMatchObject({ median: 1, low: 1, high: 1 });
      }),
    );
  });
  it("holds the true median as often as it says: 15 pairs enclose it with ranks 4 and 12, 3.5 % outside", () => {
    const other = new Array<number>(15).fill(1);
    const { low, high } = pairedRatio(
      [...other.keys()].map((i) => i + 1),
      other,
      0.05,
    );
    expect([low, high]).toEqual([4, 12]);
    const random = uniform(5);
    const draw = () => Array.from({ length: 15 }, () => Math.exp(2 * random() - 1));
    let outside = 0;
    for (let i = 0; i < 4000; i++) {
      const ratio = pairedRatio(draw(), draw(), 0.05);
      if (ratio.low > 1 || ratio.high < 1) outside++;
    }
    // 0.035 of 4000, within four deviations of a binomial.
    expect(Math.abs(outside - 141)).toBeLessThan(4 * Math.sqrt(141));
  });
});
