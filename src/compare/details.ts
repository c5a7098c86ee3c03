/** What is worth a closer look in a comparison, and the values behind it. */
import { parseDims } from "../trace/dims.ts";
import type { RecordSummary, Trace } from "../trace/reader.ts";
import { isResidualStream } from "../trace/taps.ts";
import { logitsRow } from "./logits.ts";
import { choices, type OpDetail, opDetail, type PairValues, pairValues } from "./op-detail.ts";
import { type Pair, planPairs } from "./pairs.ts";
import type { TokenAlignment } from "./tokens.ts";

/** A record of the actual trace. */
export interface At {
  readonly step: number;
  readonly tap: string;
}

export interface DetailedOp extends At {
  readonly posStart: number;
  readonly dims: string;
  readonly shape: readonly number[];
  readonly detail: OpDetail;
}

type Choice = ReturnType<typeof choices>[number];

/** The likeliest tokens after a position, on both sides. */
export interface ChoicesAt {
  readonly position: number;
  /** KL(expected || actual) of the softmaxes, nats. */
  readonly kl: number;
  readonly expected: readonly Choice[];
  readonly actual: readonly Choice[];
}

/** Ops looked at, at most: their values are read once more. */
const MOST = 40;

/**
 * Details of the `wanted` ops first, then of what feeds them, of logits, and of the residual stream in the first wanted step; where
 * both sides have values. At most MOST.
 */
export async function detailsOf(
  expected: Trace,
  actual: Trace,
  tokens: TokenAlignment,
  wanted: readonly At[],
): Promise<DetailedOp[]> {
  const { pairs } = planPairs(expected.records, actual.records, tokens);
  const first = wanted[0]?.step ?? 0;
  const near = wanted.flatMap(({ step, tap }) =>
    (recordAt(actual, step, tap)?.inputs ?? []).map((input) => ({ step, tap: input })),
  );
  const stream = actual.records.filter(
    ({ step, tap }) => step === first && (tap === "logits" || isResidualStream(tap)),
  );
  const details = new Map<string, DetailedOp>();
  for (const { step, tap } of [...wanted, ...near, ...stream]) {
    const key = `${step} ${tap}`;
    if (details.size === MOST || details.has(key)) continue;
    const pair = pairs.find((each) => each.step === step && each.tap === tap);
    const values = pair === undefined ? null : await pairValues(expected, actual, pair);
    const record = pair === undefined ? undefined : actual.records[pair.actual];
    if (values === null || record === undefined) continue;
    const { posStart, dims, shape } = record;
    details.set(key, { step, tap, posStart, dims, shape, detail: opDetail(values, headDimOf(record, actual)) });
  }
  return [...details.values()];
}

const recordAt = (trace: Trace, step: number, tap: string) =>
  trace.records.find((record) => record.step === step && record.tap === tap);

/** Columns of a head where heads and their dimensions are one axis, and the model says how many. */
function headDimOf({ dims }: RecordSummary, { manifest }: Trace): number | null {
  const headDim = Number(manifest.model.hyperParameters.headDim ?? 0);
  return parseDims(dims).at(-1)?.at(-1) === "head_dim" && headDim > 0 ? headDim : null;
}

/** The likeliest tokens after each position whose logits both sides have, at most `most`: the last ones. */
export async function choicesOf(
  expected: Trace,
  actual: Trace,
  tokens: TokenAlignment,
  most = 32,
): Promise<ChoicesAt[]> {
  const { pairs } = planPairs(expected.records, actual.records, tokens);
  const found: ChoicesAt[] = [];
  for (const pair of pairs.filter(({ tap }) => tap === "logits")) {
    const values = await pairValues(expected, actual, pair);
    if (values !== null) found.push(...choicesOfPair(pair, values, most));
  }
  return found.slice(-most);
}

function choicesOfPair(pair: Pair, { layout, expected, actual }: PairValues, most: number): ChoicesAt[] {
  const row = (values: Float32Array, token: number) =>
    values.subarray(token * layout.columns, (token + 1) * layout.columns);
  return pair.ranges
    .flatMap(({ expectedToken, actualToken, count }) =>
      Array.from({ length: count }, (_, t) => ({ e: expectedToken + t, a: actualToken + t })),
    )
    .slice(-most)
    .map(({ e, a }) => {
      const [ofExpected, ofActual] = [row(expected, e), row(actual, a)];
      const position = pair.posStart + a;
      const { kl } = logitsRow(ofExpected, ofActual, position, 1);
      return { position, kl, expected: choices(ofExpected), actual: choices(ofActual) };
    });
}
