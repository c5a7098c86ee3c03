/**
 * Which records belong together, decided on names, positions and shapes before any data are read. Rows are matched by position, not
 * by step, so that a prefill can be held against token-by-token decoding. Every record ends matched, unmatched with a reason, or
 * refused with a reason.
 */
import { parseDims, rowsAndColumns } from "../trace/dims.ts";
import type { RecordSummary } from "../trace/reader.ts";
import type { TokenAlignment } from "./tokens.ts";

/** Rows of one token axis that belong together: `count` tokens from these on. */
export interface RowRange {
  readonly expectedToken: number;
  readonly actualToken: number;
  readonly count: number;
}

export interface Pair {
  /** Indices into the traces' records. */
  readonly expected: number;
  readonly actual: number;
  readonly tap: string;
  /** Step and first position of the actual record. */
  readonly step: number;
  readonly posStart: number;
  readonly layout: Layout;
  readonly ranges: readonly RowRange[];
  /** False where tokens before these rows differ, so that values must differ. */
  readonly sameContext: boolean;
}

/** How a tensor's rows lie: `outer` blocks (heads) of tokens, each a row of columns. */
export interface Layout {
  readonly outer: number;
  readonly expectedTokens: number;
  readonly actualTokens: number;
  readonly expectedColumns: number;
  readonly actualColumns: number;
  /** Columns that both sides have; those beyond are masked places, which must be 0. */
  readonly columns: number;
}

export interface Left {
  readonly side: "expected" | "actual";
  readonly index: number;
  readonly tap: string;
  readonly step: number;
  readonly reason: string;
}

export interface PairPlan {
  readonly pairs: readonly Pair[];
  readonly unmatched: readonly Left[];
  readonly refused: readonly Left[];
}

interface TokenAxis {
  readonly outer: number;
  readonly tokens: number;
  readonly columns: number;
}

/** Blocks, tokens and columns of a record. A tensor without a token axis (a weight) counts its rows as tokens. */
export function tokenAxis({ dims, shape }: Pick<RecordSummary, "dims" | "shape">): TokenAxis {
  const axis = parseDims(dims).findIndex((names) => names.length === 1 && names[0] === "token");
  const { rows, columns } = rowsAndColumns(shape);
  if (axis < 0 || axis >= shape.length - 1) return { outer: 1, tokens: rows, columns };
  const tokens = shape[axis] ?? 1;
  return { outer: tokens === 0 ? 0 : rows / tokens, tokens, columns };
}

const hasTokens = (record: RecordSummary) => parseDims(record.dims).some((axis) => axis[0] === "token");
const hasKeys = (record: RecordSummary) => parseDims(record.dims).some((axis) => axis[0] === "key");

/** Which axis of a record is called so; -1 where none is. */
const placeOf = ({ dims }: RecordSummary, name: string) => parseDims(dims).findIndex((axis) => axis[0] === name);

/** Plans a comparison. */
export function planPairs(
  expected: readonly RecordSummary[],
  actual: readonly RecordSummary[],
  tokens: TokenAlignment,
): PairPlan {
  const byTap = new Map<string, number[]>();
  expected.forEach((record, index) => {
    const list = byTap.get(record.tap);
    if (list === undefined) byTap.set(record.tap, [index]);
    else list.push(index);
  });
  const actualTaps = new Set(actual.map((record) => record.tap));
  const pairs: Pair[] = [];
  const unmatched: Left[] = [];
  const refused: Left[] = [];
  const used = new Set<number>();
  const refusedExpected = new Map<number, string>();
  const shiftedKeys = new Map<number, string>();

  actual.forEach((record, index) => {
    const left = (reason: string): Left => ({ side: "actual", index, tap: record.tap, step: record.step, reason });
    const candidates = byTap.get(record.tap);
    if (candidates === undefined) {
      unmatched.push(left("the expected trace has no such tap"));
      return;
    }
    const found = hasTokens(record)
      ? rowsByPosition(record, candidates, expected, tokens)
      : rowsOfWeight(record, candidates, expected);
    if (found.length === 0) {
      unmatched.push(left(reasonOf(record, tokens)));
      return;
    }
    let matched = false;
    let problem = "";
    for (const { index: other, sameContext, ranges } of found) {
      const partner = expected[other];
      if (partner === undefined) continue;
      const fit = layoutOf(partner, record);
      if (typeof fit === "string") {
        problem = fit;
        refusedExpected.set(other, fit);
        continue;
      }
      if (
        hasKeys(record) &&
        ranges.some((range) => range.expectedToken + partner.posStart !== range.actualToken + record.posStart)
      ) {
        problem = "keys of shifted positions do not belong together";
        shiftedKeys.set(other, problem);
        continue;
      }
      pairs.push({
        expected: other,
        actual: index,
        tap: record.tap,
        step: record.step,
        posStart: record.posStart,
        layout: fit,
        ranges,
        sameContext,
      });
      used.add(other);
      matched = true;
    }
    if (!matched) (problem.startsWith("keys") ? unmatched : refused).push(left(problem));
  });
  expected.forEach((record, index) => {
    if (used.has(index)) return;
    const left = { side: "expected" as const, index, tap: record.tap, step: record.step };
    const refusal = refusedExpected.get(index);
    const isTwin = (byTap.get(record.tap) ?? []).some((other) => used.has(other) && overlap(expected[other], record));
    const missing = isTwin
      ? "another record of this trace has its positions"
      : "no position of it is in the actual trace";
    if (refusal !== undefined) refused.push({ ...left, reason: refusal });
    else if (!actualTaps.has(record.tap)) unmatched.push({ ...left, reason: "the actual trace has no such tap" });
    else unmatched.push({ ...left, reason: shiftedKeys.get(index) ?? missing });
  });
  return { pairs, unmatched, refused };
}

/** True if two records of one tap have a position in common. */
function overlap(a: RecordSummary | undefined, b: RecordSummary): boolean {
  if (a === undefined) return false;
  return a.posStart < b.posStart + tokenAxis(b).tokens && b.posStart < a.posStart + tokenAxis(a).tokens;
}

function reasonOf(record: RecordSummary, { difference, actual }: TokenAlignment): string {
  if (difference !== null && record.posStart + tokenAxis(record).tokens > difference.position) {
    return `tokens differ from position ${difference.position} on`;
  }
  return `positions from ${record.posStart} on (of ${actual.length}) are not in the expected trace`;
}

/** Rows of one expected record that belong to rows of the record in hand. */
interface Partner {
  readonly index: number;
  /** True if all tokens up to these rows are the same on both sides. */
  readonly sameContext: boolean;
  readonly ranges: RowRange[];
}

/** For each position of the record the expected record that has it: of the same step if there is one, else the earliest. */
function rowsByPosition(
  record: RecordSummary,
  candidates: readonly number[],
  expected: readonly RecordSummary[],
  tokens: TokenAlignment,
): Partner[] {
  const found: Partner[] = [];
  const spans = candidates
    .flatMap((index) => {
      const other = expected[index];
      return other === undefined
        ? []
        : [{ index, step: other.step, posStart: other.posStart, end: other.posStart + tokenAxis(other).tokens }];
    })
    .sort((a, b) => Number(b.step === record.step) - Number(a.step === record.step));
  const rows = tokenAxis(record).tokens;
  for (let token = 0; token < rows; token++) {
    const position = tokens.of(record.posStart + token);
    if (position === null) continue;
    const other = spans.find((span) => position >= span.posStart && position < span.end);
    if (other === undefined) continue;
    const { index } = other;
    const sameContext = tokens.difference === null || record.posStart + token < tokens.difference.position;
    let partner = found.find((each) => each.index === index && each.sameContext === sameContext);
    if (partner === undefined) {
      partner = { index, sameContext, ranges: [] };
      found.push(partner);
    }
    const { ranges } = partner;
    const last = ranges.at(-1);
    const expectedToken = position - other.posStart;
    if (
      last !== undefined &&
      last.actualToken + last.count === token &&
      last.expectedToken + last.count === expectedToken
    ) {
      ranges[ranges.length - 1] = { ...last, count: last.count + 1 };
    } else ranges.push({ expectedToken, actualToken: token, count: 1 });
  }
  return found;
}

function rowsOfWeight(
  record: RecordSummary,
  candidates: readonly number[],
  expected: readonly RecordSummary[],
): Partner[] {
  const [index] = candidates;
  const other = index === undefined ? undefined : expected[index];
  if (index === undefined || other === undefined) return [];
  const count = Math.min(tokenAxis(record).tokens, tokenAxis(other).tokens);
  return [{ index, sameContext: true, ranges: [{ expectedToken: 0, actualToken: 0, count }] }];
}

/** The common layout of two records, or why there is none. Only tokens and keys may differ in number. */
function layoutOf(expected: RecordSummary, actual: RecordSummary): Layout | string {
  const [e, a] = [tokenAxis(expected), tokenAxis(actual)];
  const shapes = `expected [${expected.shape.join(", ")}] (${expected.dims}), actual [${actual.shape.join(", ")}] (${actual.dims})`;
  if (parseDims(expected.dims).length !== parseDims(actual.dims).length) return `other dims: ${shapes}`;
  const places = ["token", "key"].map((name) => [placeOf(expected, name), placeOf(actual, name)] as const);
  if (places.some(([of, to]) => of !== to)) return `other dims: ${shapes}`;
  if (hasTokens(actual) && placeOf(actual, "token") !== actual.shape.length - 2)
    return `token must be the last axis but one: ${shapes}`;
  const keys = hasKeys(expected) && hasKeys(actual);
  if (e.outer !== a.outer || (e.columns !== a.columns && !keys)) return `other shapes: ${shapes}`;
  if (!hasTokens(expected) && e.tokens !== a.tokens) return `other shapes: ${shapes}`;
  return {
    outer: e.outer,
    expectedTokens: e.tokens,
    actualTokens: a.tokens,
    expectedColumns: e.columns,
    actualColumns: a.columns,
    columns: Math.min(e.columns, a.columns),
  };
}
