/** All hypotheses: one row for each way to get an op wrong, and the fits for what no row knows. */
import { nameInLayer } from "../../trace/taps.ts";
import type { OpCase } from "../op-case.ts";
import { ACTIVATION } from "./activation.ts";
import { ATTENTION } from "./attention.ts";
import { EMBED } from "./embed.ts";
import { FITS } from "./fits.ts";
import { HALF_SUMS } from "./half-sums.ts";
import { HEAD } from "./head.ts";
import type { Hypothesis } from "./hypothesis.ts";
import { KV } from "./kv.ts";
import { LINEAR } from "./linear.ts";
import { MEMORY } from "./memory.ts";
import { NORM } from "./norm.ts";
import { PRECISION } from "./precision.ts";
import { QUANT } from "./quant.ts";
import { RESIDUAL } from "./residual.ts";
import { ROPE } from "./rope.ts";
import { SHORT_CACHE } from "./short-cache.ts";
import { distance } from "./values.ts";

/** Closer to the expected output than any number of f32 roundings could tell, even of one common factor. */
const THE_SAME = 1e-10;

/** Leaves out predictions that say nothing: those of the expected output. */
const telling = (hypothesis: Hypothesis): Hypothesis => ({
  ...hypothesis,
  predict: async (op, seen) => {
    const predictions = await hypothesis.predict(op, seen);
    return predictions.filter(({ output }) => distance(seen.expected.data, output.data) > THE_SAME);
  },
});

export const HYPOTHESES: readonly Hypothesis[] = [
  ...[...EMBED, ...NORM, ...LINEAR, ...HALF_SUMS, ...QUANT, ...ROPE, ...ATTENTION, ...KV, ...ACTIVATION],
  ...[...SHORT_CACHE, ...RESIDUAL, ...HEAD, ...MEMORY, ...PRECISION, ...FITS],
].map(telling);

/** Those that can befall an op. */
export function hypothesesFor({ node: { op } }: Pick<OpCase, "node">): readonly Hypothesis[] {
  return HYPOTHESES.filter(
    ({ kinds, names }) => kinds.includes(op.kind) && (names === undefined || names.includes(nameInLayer(op.tap))),
  );
}
