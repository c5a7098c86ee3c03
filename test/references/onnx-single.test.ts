/** ONNX Runtime as the second voice of `faultline kernels`: right by the oracle in every case, and heard where it is not. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OnnxOps } from "../../references/onnx/single.ts";
import { Answer } from "../../src/compare/kernels/answer.ts";
import { type OpKernelCase, opCases } from "../../src/compare/kernels/cases.ts";
import { type Voice, witnessOf } from "../../src/compare/kernels/witness.ts";
import { onnxLines, onnxWords } from "../../src/report/kernel-voices.ts";

let ops: OnnxOps;
beforeAll(async () => {
  ops = await OnnxOps.open();
});
afterAll(() => ops.close());

const caseOf = (id: string): OpKernelCase => {
  const [found] = [...opCases((each) => each === id)];
  if (found === undefined) throw new Error(`no case ${id}`);
  return found;
};

it("ONNX Runtime is within the bound of the oracle in every case", async () => {
  const objections: string[] = [];
  let count = 0;
  for (const each of opCases()) {
    const said = await ops.run(each);
    const { objection } = witnessOf(new Answer(each), each.dtype, said, said);
    if (objection !== null) objections.push(`${each.id}: ${JSON.stringify(objection)}`);
    count++;
  }
  expect(objections).toEqual([]);
  expect(count).toBeGreaterThan(600);
});

describe("a witness", () => {
  it.each(["linear 5x33x17 F32 normal f32", "causal_softmax 4/4x4x34@0 normal f32", "add 5x33 normal f16"])(
    "%s: one element off is an objection, and the kernel's distance from it is told",
    async (id) => {
      const of = caseOf(id);
      const answer = new Answer(of);
      const said = await ops.run(of);
      const at = said.findIndex((value) => Math.abs(value) > 0.1);
      const wrong = said.map((value, i) => (i === at ? 1.01 * value : value));
      expect(witnessOf(answer, of.dtype, said, said).objection).toBeNull();
      const { objection, nmse, oneSided } = witnessOf(answer, of.dtype, said, wrong);
      expect(objection).toMatchObject({ index: at, expected: answer.right.expected[at] });
      expect(nmse).toBeGreaterThan(1e-8);
      expect(oneSided).toBe(0);
    },
  );

  it("one that makes or hides a NaN objects", async () => {
    const of = caseOf("rms_norm 7x576 F32 nan f32");
    const answer = new Answer(of);
    const said = await ops.run(of);
    const nan = said.findIndex(Number.isNaN);
    const hides = said.map((value, i) => (i === nan ? 0 : value));
    expect(witnessOf(answer, "f32", said, hides)).toMatchObject({ oneSided: 1, objection: { index: nan, actual: 0 } });
    const makes = said.map((value, i) => (i === 0 ? Number.NaN : value));
    expect(witnessOf(answer, "f32", said, makes)).toMatchObject({ oneSided: 1, objection: { index: 0 } });
  });

  it("a context may take in 0 times the NaN of a later key, and nothing else may", async () => {
    const of = caseOf("attn_ctx 4/4x4x34@0 nan f32");
    const said = await ops.run(of);
    const strict = new Answer(of);
    const dense = said.filter(Number.isNaN).length - strict.right.expected.filter(Number.isNaN).length;
    expect(dense).toBeGreaterThan(0);
    expect(witnessOf(strict, "f32", said, said).objection).toBeNull();
    const more = said.map((value, i) => (i === said.findIndex(Number.isFinite) ? Number.NaN : value));
    expect(witnessOf(strict, "f32", said, more).objection).not.toBeNull();
  });

  it("speaks in the report: against the kernel, or against the oracle", async () => {
    const of = caseOf("linear 5x33x17 F32 normal f32");
    const answer = new Answer(of);
    const said = await ops.run(of);
    const right: Voice = { witness: witnessOf(answer, "f32", said, said) };
    const wrong: Voice = {
      witness: witnessOf(
        answer,
        "f32",
        said,
        said.map((value) => 2 * value),
      ),
    };
    expect(onnxWords({ reasons: ["bound"] }, right)).toMatch(/agrees with the oracle against it/);
    expect(onnxWords({ reasons: ["bound"] }, wrong)).toMatch(/disagrees with the oracle too/);
    expect(onnxWords({ reasons: ["border"] }, right)).toBe("");
    const lines = (voice: Voice) =>
      onnxLines({
        ...{ device: "", fault: null, elapsedMs: 0, baseline: null, otherVersion: null, leftOut: [] },
        judgements: [
          {
            case: of,
            ...{ verdict: "pass", reasons: [], nmse: 0, worstRowNmse: 0, ofLikely: 0, ofWorst: 0 },
            ...{ milliseconds: null, bytes: 1, operations: 1 },
          },
        ],
        onnx: { version: "1", voices: new Map([[of.id, voice]]) },
      }).join("\n");
    expect(lines(right)).toBe("");
    expect(lines(wrong)).toMatch(/ONNX Runtime disagrees with the oracle.*: linear 5x33x17 .*times the bound apart/);
  });
});
