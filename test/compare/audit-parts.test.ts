/** Inherited, added and cancelled error against a second run. */
import { expect, it } from "vitest";
import { auditTrace } from "../../src/compare/audit.ts";
import type { AuditedOp } from "../../src/compare/audit-node.ts";
import type { ErrorParts } from "../../src/compare/audited-op.ts";
import { embedded } from "../support/faults.ts";
import { traceFrom } from "../support/traces.ts";

async function partsOf(...faults: string[]) {
  const bench = await embedded();
  const run = await bench.run(...faults);
  const against = await traceFrom(
    bench.clean.flatMap(({ records }) => records),
    bench.steps,
  );
  const trace = await traceFrom(
    run.flatMap(({ records }) => records),
    bench.steps,
  );
  const { ops } = await auditTrace(bench.model, trace, { against, workers: 0 });
  return ops.map((op) => ({ op, parts: op.parts ?? missing(op) }));
}

function missing({ tap, step }: AuditedOp): ErrorParts {
  throw new Error(`${tap} of step ${step} has no parts`);
}

it("of a run against itself are nothing", async () => {
  for (const { parts } of await partsOf()) {
    expect(parts).toEqual({ total: 0, inherited: 0, added: 0, cancelled: 0, amplification: null });
  }
});

it.each(["act.gelu-tanh@blk.1.ffn_act", "rope.position-plus-one@blk.2.q_rope", "linear.k-tail-dropped@blk.0.v_proj:7"])(
  "%s adds error at its op alone, and what follows inherits it",
  async (fault) => {
    const tap = fault.split("@")[1]?.split(":")[0];
    const all = await partsOf(fault);
    const first = all.findIndex(({ op }) => op.tap === tap);
    for (const [index, { op, parts }] of all.entries()) {
      const { total, inherited, added, cancelled, amplification } = parts;
      const rounding = 2 * (op.own?.worst ?? 0);
      if (op.tap === tap)
        expect([op.tap, added > 10 * rounding && op.own?.verdict === "proved"]).toEqual([op.tap, true]);
      else expect([op.tap, op.step, added <= rounding]).toEqual([op.tap, op.step, true]);
      if (index < first) expect([op.tap, total]).toEqual([op.tap, 0]);
      // total = inherited + added as vectors, so no longer than both together and no shorter than their difference.
      const slack = 1e-9 + 1e-6 * (inherited + added);
      expect(total).toBeLessThanOrEqual(inherited + added + slack);
      expect(total).toBeGreaterThanOrEqual(Math.abs(inherited - added) - slack);
      // Where they take one another back, by exactly what is missing in the squares.
      const square = inherited ** 2 + added ** 2 - total ** 2;
      expect(Math.abs(cancelled ** 2 - Math.max(0, square))).toBeLessThanOrEqual(
        1e-12 + 1e-6 * (inherited ** 2 + added ** 2),
      );
      if (inherited > 0) expect([op.tap, Number.isFinite(amplification)]).toEqual([op.tap, true]);
    }
    const last = all.find(({ op }) => op.tap === "logits");
    expect(last?.parts.inherited).toBeGreaterThan(1e-4);
    expect(last?.parts.total).toBeGreaterThan(1e-4);
  },
);

it("two equal errors that meet cancel, and the sum says so", async () => {
  // The residual adds what it is given: where its op is wrong by the negative of what it inherits, nothing is left of both.
  const bench = await embedded();
  const tap = "blk.1.attn_residual";
  const clean = bench.clean.flatMap(({ records }) => records);
  const bent = (await bench.run("linear.k-tail-dropped@blk.1.attn_out:7")).flatMap(({ records }) => records);
  const healed = bent.map((record) =>
    record.tap === tap ? (clean.find((each) => each.tap === tap && each.step === record.step) ?? record) : record,
  );
  const { ops } = await auditTrace(bench.model, await traceFrom(healed, bench.steps), {
    against: await traceFrom(clean, bench.steps),
    workers: 0,
  });
  const op = ops.find((each) => each.tap === tap && each.step === 0);
  const { total, inherited, added, cancelled } = op?.parts ?? missing(ops[0] as AuditedOp);
  expect(total).toBe(0);
  expect(inherited).toBeGreaterThan(1e-4);
  expect(Math.abs(added - inherited)).toBeLessThan(1e-6);
  expect(Math.abs(cancelled - Math.hypot(inherited, added))).toBeLessThan(1e-9);
  expect(op?.own?.verdict).toBe("proved");
});
