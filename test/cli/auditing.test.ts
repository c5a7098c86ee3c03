/** audit, diagnose and what builds on them as a user runs them: verdicts, causes, exit statuses, and one line where it cannot be. */
import { existsSync, mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { auditSchema } from "../../src/report/audit-facts.ts";
import { bisectionSchema } from "../../src/report/bisection.ts";
import { diagnosesSchema } from "../../src/report/diagnoses.ts";
import { faultline } from "../support/cli.ts";
import { syntheticLlamaFile } from "../support/synthetic-llama.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const TOKENS = "256,1057,261,1907,1079,415";
const folder = mkdtempSync(join(tmpdir(), "faultline-auditing-"));
const at = (name: string) => join(folder, name);

/** One line, exit 2, and nothing on stdout. */
function expectRefusal(args: readonly string[], line: RegExp): void {
  const { status, stdout, errors } = faultline(...args);
  expect([status, stdout, errors.length], errors.join("\n")).toEqual([2, "", 1]);
  expect(errors[0]).toMatch(line);
}

const trace = (name: string, level: string, ...more: string[]) => {
  const args = ["trace", MODEL, "--tokens", TOKENS, "-n", "0", "-q", "--capture", level, "-o", at(name), ...more];
  const { status, errors } = faultline(...args);
  expect(status, errors.join("\n")).toBe(0);
};
const FAULT = ["--fault", "act.gelu-erf@blk.1.ffn_act", "--fault", "rope.pairing@blk.3.q_rope"];

beforeAll(() => {
  trace("clean.arrow", "full");
  trace("faulty.arrow", "full", ...FAULT);
  trace("sketch.arrow", "sketch", ...FAULT);
  trace("stats.arrow", "stats", ...FAULT);
  trace("some.arrow", "full", "--taps", "blk.1.*,logits");
});

describe("audit", () => {
  it("finds nothing in a clean run", () => {
    const { status, stdout, errors } = faultline("audit", at("clean.arrow"), "--model", MODEL);
    expect([status, errors]).toEqual([0, []]);
    expect(stdout).toMatch(/^match: 71 ops recomputed from their own inputs, 71 within what rounding explains\n/);
    expect(stdout).toContain("this run cannot show: linear.bias-missing (no bias there)");
  });

  it("names both faults of a run, each by itself, with its cause", () => {
    const { status, stdout } = faultline("audit", at("faulty.arrow"), "--model", MODEL, "--json");
    const { verdict, first, origins, totals } = auditSchema.parse(JSON.parse(stdout));
    expect([status, verdict, first?.kind, first?.tap]).toEqual([1, "divergent", "own-fault", "blk.1.ffn_act"]);
    expect(origins.map(({ tap, verdict: of, diagnosis }) => [tap, of, diagnosis?.hypothesis])).toEqual([
      ["blk.1.ffn_act", "proved", "act.gelu-erf"],
      ["blk.3.q_rope", "proved", "rope.pairing"],
    ]);
    expect(totals).toMatchObject({ judged: 71, clean: 69, proved: 2 });
  });

  it("tells inherited from added error", () => {
    const args = ["audit", at("faulty.arrow"), "--model", MODEL, "--against", at("clean.arrow"), "--json"];
    const { ops } = auditSchema.parse(JSON.parse(faultline(...args).stdout));
    const of = (tap: string) => ops.find((op) => op.tap === tap && op.step === 0);
    expect(of("blk.1.ffn_act")).toMatchObject({ inherited: 0 });
    expect(of("blk.1.ffn_act")?.added).toBeGreaterThan(0.05);
    expect(of("blk.1.ffn_down")?.inherited).toBeGreaterThan(0.05);
    expect(of("blk.1.ffn_down")?.added).toBeLessThan(1e-6);
  });

  it("leaves bundles that fail again by themselves", () => {
    expect(faultline("audit", at("faulty.arrow"), "--model", MODEL, "--bundle", at("bundles")).status).toBe(1);
    const bundles = readdirSync(at("bundles"));
    expect(bundles.sort()).toEqual(["blk.1.ffn_act-step0", "blk.3.q_rope-step0"]);
    expect(faultline("replay", join(at("bundles"), bundles[0] ?? "")).status).toBe(1);
  });

  it("suggests the smallest run that would show what this one cannot", () => {
    const one = at("one.arrow");
    expect(faultline("trace", MODEL, "--tokens", "7", "-n", "0", "-q", "--capture", "full", "-o", one).status).toBe(0);
    const { stdout } = faultline("audit", one, "--model", MODEL, "--suggest");
    expect(stdout).toMatch(/this run cannot show: .*rope\.\* .*position 0 only/);
    expect(stdout).toMatch(/to show what can be shown: faultline (bisect|trace) .* --tokens \d+(,\d+)+ -n [1-9]/);
  });

  it("judges what it can of a trace with some taps, and says what not", () => {
    const { status, stdout } = faultline("audit", at("some.arrow"), "--model", MODEL);
    expect(status, stdout).toBe(0);
    expect(stdout).toMatch(/could not be judged\n/);
    expect(stdout).toMatch(/its input blk\.0\.output is not in the trace/);
  });

  it("refuses what it cannot judge, in one line", () => {
    expectRefusal(["audit", at("sketch.arrow"), "--model", MODEL], /holds no values .*--capture full.*diagnose/);
    expectRefusal(["audit", at("clean.arrow"), "--model", at("none.gguf")], /none\.gguf: no such file/);
    expectRefusal(["audit", at("none.arrow"), "--model", MODEL], /none\.arrow: no such file/);
    expectRefusal(
      ["audit", at("clean.arrow"), "--model", syntheticLlamaFile()],
      /\(embd 256\).* has embd \d+; give the model/,
    );
    expectRefusal(["audit", at("clean.arrow"), "--model", MODEL, "--taps", "blk.9.*"], /no op matches blk\.9\.\*/);
    expectRefusal(
      ["audit", at("clean.arrow"), "--model", MODEL, "--against", at("one.arrow")],
      /ran other tokens or steps/,
    );
    expectRefusal(["audit", at("clean.arrow"), "--model", MODEL, "--bundle"], /argument missing/);
  });
});

describe("diagnose", () => {
  const causes = (...args: string[]) => {
    const { status, stdout, errors } = faultline("diagnose", ...args, "--model", MODEL, "--json");
    const { verdict, ops } = diagnosesSchema.parse(JSON.parse(stdout));
    const named = ops.map(({ tap, diagnosis }) => [tap, diagnosis?.hypothesis ?? null]);
    return { status, verdict, named, errors, evidence: ops[0]?.evidence };
  };

  it("names causes from values, and of one tap", () => {
    expect(causes(at("faulty.arrow"))).toMatchObject({
      ...{ status: 1, evidence: "values" },
      named: [
        ["blk.1.ffn_act", "act.gelu-erf"],
        ["blk.3.q_rope", "rope.pairing"],
      ],
    });
    expect(causes(at("faulty.arrow"), "--tap", "blk.3.q_rope").named).toEqual([["blk.3.q_rope", "rope.pairing"]]);
    expect(causes(at("clean.arrow"))).toMatchObject({ status: 0, verdict: "match", named: [] });
  });

  it("names the first from sketches, by the oracle's own run or a reference", () => {
    for (const more of [[], ["--against", at("clean.arrow")]]) {
      const found = causes(at("sketch.arrow"), ...more);
      expect([found.status, found.evidence, found.named[0]]).toEqual([1, "sketch", ["blk.1.ffn_act", "act.gelu-erf"]]);
    }
  });

  it("withholds a cause where only statistics are known", () => {
    const found = causes(at("stats.arrow"));
    expect([found.status, found.evidence, found.named[0]]).toEqual([1, "statistics", ["blk.1.ffn_act", null]]);
    expect(faultline("diagnose", at("stats.arrow"), "--model", MODEL).stdout).toMatch(
      /cause: withheld; statistics tell where/,
    );
  });

  it("refuses taps that are not there", () => {
    const args = ["diagnose", at("some.arrow"), "--model", MODEL, "--tap"];
    expectRefusal([...args, "blk.0.q_rop"], /no op of .* makes it/);
    expectRefusal([...args, "blk.0.q_rope"], /not among the \d+ records/);
  });
});

describe("with the model, compare and bisect", () => {
  const judged = (...args: string[]) => {
    const { status, stdout } = faultline(...args, "--json");
    return { status, ...bisectionSchema.parse(JSON.parse(stdout)) };
  };

  it("name the op and its cause", () => {
    const found = judged("compare", at("clean.arrow"), at("faulty.arrow"), "--model", MODEL);
    expect([found.status, found.finding, found.first?.tap, found.diagnosis?.hypothesis]).toEqual([
      1,
      "own-fault",
      "blk.1.ffn_act",
      "act.gelu-erf",
    ]);
    const sketch = judged("compare", at("clean.arrow"), at("sketch.arrow"), "--model", MODEL);
    expect([sketch.finding, sketch.audit, sketch.diagnosis?.hypothesis]).toEqual(["divergent", null, "act.gelu-erf"]);
  });

  it("accuse the reference where it is the one that is wrong", () => {
    const found = judged("compare", at("faulty.arrow"), at("clean.arrow"), "--model", MODEL);
    expect([found.status, found.finding, found.audit?.origins.length]).toEqual([1, "reference-fault", 0]);
    expect(found.sentence).toMatch(/the reference is not: blk\.1\.ffn_act/);
  });

  it("begin with determinism", () => {
    const args = ["bisect", MODEL, "--against", "onnx", "--tokens", TOKENS, "-n", "1", "-o", at("race")];
    const found = judged(...args, "--fault", "memory.race@blk.2.attn_out");
    expect([found.status, found.finding, found.determinism?.first?.tap]).toEqual([1, "unstable", "blk.2.attn_out"]);
    expect(existsSync(join(at("race"), "bisect.json"))).toBe(true);
  });
});
