/** What a kernel that is no op's gave: copies and roundings bit for bit, records word for word, sums within their bounds. */

import type { Bits, Chore, ChoreKind, ChoreOf } from "../../model/chores.ts";
import { roundToHalf } from "../../model/half.ts";
import type { Bounded } from "../../oracle/bounded.ts";
import { RESERVED, recordAnswers, sumWords } from "./record-answer.ts";

/** An answer in two parts. */
export interface ChoreFindings {
  /** Words that must be what they are, and are not. */
  readonly wrongWords: number;
  /** Words that the kernel is right to leave. */
  readonly reserved: number;
  /** Numbers with their bounds, and what stands there. */
  readonly right: Bounded;
  readonly actual: Float32Array;
  readonly bytes: number;
  readonly operations: number;
}

type Find<K extends ChoreKind> = (chore: ChoreOf<K>, actual: Bits) => ChoreFindings;

const FIND: { readonly [K in ChoreKind]: Find<K> } = {
  kv_store: ({ bits, columns }, actual) => ({
    ...exactly(bits, actual, columns),
    bytes: 8 * bits.length,
    operations: 0,
  }),
  round_half: ({ bits }, actual) => ({
    ...exactly(rounded(bits), actual, bits.length),
    ...{ bytes: 8 * bits.length, operations: bits.length },
  }),
  row_statistics: records,
};

/** Holds what a kernel wrote against what it should have. */
export function choreFindings<K extends ChoreKind>(chore: ChoreOf<K> & Chore, actual: Float32Array): ChoreFindings {
  const find = FIND[chore.kernel] as Find<ChoreKind>;
  return find(chore, new Uint32Array(actual.slice().buffer));
}

/** Bits as they must be. */
function exactly(expected: Bits, actual: Bits, columns: number) {
  let wrongWords = 0;
  for (let i = 0; i < expected.length; i++) if (expected[i] !== actual[i]) wrongWords++;
  const values = Float64Array.from(new Float32Array(expected.buffer));
  const none = () => new Float64Array(values.length);
  const rows = values.length / columns;
  const right: Bounded = {
    rows,
    columns,
    expected: values,
    worst: none(),
    likely: none(),
    alike: new Float64Array(rows),
    keepsSign: true,
  };
  return { wrongWords, reserved: 0, right, actual: new Float32Array(actual.buffer) };
}

/** As src/model/half.ts rounds; NaN keeps its bits. */
function rounded(bits: Bits): Bits {
  const floats = new Float32Array(bits.buffer);
  const halves = Float32Array.from(floats, roundToHalf);
  const out = new Uint32Array(halves.buffer);
  for (let i = 0; i < bits.length; i++) if (Number.isNaN(floats[i])) out[i] = bits[i] as number;
  return out;
}

function records(chore: ChoreOf<"row_statistics">, actual: Bits): ChoreFindings {
  const { rows, words, bits, table } = chore;
  const answers = recordAnswers(chore);
  const at = sumWords(words);
  const floats = new Float32Array(actual.buffer);
  const size = rows * at.length;
  const [expected, worst, likely] = [new Float64Array(size), new Float64Array(size), new Float64Array(size)];
  const sums = new Float32Array(size);
  let wrongWords = 0;
  for (const [record, { whole, sums: own }] of answers.entries()) {
    for (const [word, value] of whole) if (actual[record * words + word] !== value) wrongWords++;
    expected.set(own.expected, record * at.length);
    worst.set(own.worst, record * at.length);
    likely.set(own.likely, record * at.length);
    sums.set(
      at.map((word) => floats[record * words + word] as number),
      record * at.length,
    );
  }
  return {
    ...{ wrongWords, reserved: rows * RESERVED.length, actual: sums },
    right: { rows, columns: at.length, expected, worst, likely, alike: new Float64Array(rows), keepsSign: false },
    bytes: 4 * (bits.length + table.length + actual.length),
    // A square and two sums an element, and 16 for the sketch.
    operations: bits.length * (words === 32 ? 19 : 3),
  };
}
