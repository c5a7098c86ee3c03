/** `faultline kernels`: histories, alarms, and what is refused. What kernels get right and wrong is tested in test/compare/kernels.test.ts. */
import { copyFileSync, existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { againstHistory, type HistoryRow, RISE, readHistory, saveHistory } from "../../src/compare/kernels/baseline.ts";
import type { KernelJudgement } from "../../src/compare/kernels/judge.ts";
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
  }, 120_000);

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
      [["--fault", "kv.stale"], /needs other ops than blk\.0\.attn_scores/],
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
