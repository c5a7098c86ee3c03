/**
 * Two greedy continuations of one prompt, token by token: where they part, how each side ranks the other's token, and whether the
 * choice was near enough to turn by rounding. Facts only; src/report has the words.
 */
import { TraceError } from "../trace/errors.ts";
import type { Trace } from "../trace/reader.ts";
import type { Comparison } from "./compare.ts";
import { divergentVerdict } from "./judged-pair.ts";
import { type LogitsRow, largest, logitsRow } from "./logits.ts";
import { traceSequence } from "./tokens.ts";

/** A token and how it stood with both sides. */
export interface Choice {
  readonly id: number;
  /** Logits, and ranks from 1 on; null where that side's logits were not recorded. */
  readonly logits: { readonly expected: number | null; readonly actual: number | null };
  readonly ranks: { readonly expected: number | null; readonly actual: number | null };
}

/** The tokens that both sides put at one place of the text. */
export interface GeneratedPair {
  /** Place among the generated tokens, from 0 on. */
  readonly index: number;
  /** Null where that side has ended. */
  readonly expected: Choice | null;
  readonly actual: Choice | null;
  /** False behind the first difference: the sides read different texts. */
  readonly sameContext: boolean;
}

/** A stretch of text that stands several times in a row. */
export interface Repetition {
  readonly index: number;
  readonly unit: readonly number[];
  readonly times: number;
}

/** The reference without what it rounds on its own account, over the expected tokens: what its choice is judged by where it is given. */
export interface Exact {
  readonly trace: Trace;
  /** Expected: the exact run. Actual: the judged one. */
  readonly comparison: Comparison;
}

export interface GenerationFacts {
  /** Of the expected and the actual run. */
  readonly comparison: Comparison;
  /** What the verdict rests on: the same, or the exact run beside the actual one. */
  readonly judged: Comparison;
  /** What the exact run would say where the texts part; null where there is none, or they do not. */
  readonly exactChoice: number | null;
  readonly prompt: readonly number[];
  readonly expected: readonly number[];
  readonly actual: readonly number[];
  readonly pairs: readonly GeneratedPair[];
  /** The first pair that differs; null where none does. */
  readonly first: GeneratedPair | null;
  /** How near the choice there was; null where nothing differs or logits are missing. */
  readonly row: LogitsRow | null;
  /** True where the actual token is not the likeliest by its own logits: its sampler differs, not its arithmetic. */
  readonly isSampled: boolean;
  readonly repetitions: { readonly expected: Repetition | null; readonly actual: Repetition | null };
  /**
   * `tie`: the texts part where two right computations may: the margin is within rounding, or the exact run says what the actual one
   * does. `divergent`: they part elsewhere, or the logits of the same text differ by more than rounding explains.
   */
  readonly verdict: "match" | "tie" | "divergent";
}

/** Times that a stretch must stand in a row to be called a repetition, and its longest unit. */
const LEAST_TIMES = 3;
const LONGEST_UNIT = 8;

/** The longest repetition; of equals the first, with the shortest unit. Null where nothing stands three times in a row. */
export function repetitionOf(ids: readonly number[]): Repetition | null {
  let best: Repetition | null = null;
  for (let size = 1; size <= LONGEST_UNIT; size++) {
    for (let from = 0; from + size * LEAST_TIMES <= ids.length; from++) {
      let end = from + size;
      while (end < ids.length && ids[end] === ids[end - size]) end++;
      const times = Math.floor((end - from) / size);
      const covered = best === null ? 0 : best.unit.length * best.times;
      if (times >= LEAST_TIMES && times * size > covered)
        best = { index: from, unit: ids.slice(from, from + size), times };
    }
  }
  return best;
}

/**
 * Continuations of two traces, from their tokens and logits. Throws TraceError where their prompts differ, where one has nothing
 * after it, and where the expected token that differs first is not its own likeliest.
 */
export async function generationFacts(
  expected: Trace,
  actual: Trace,
  comparison: Comparison,
  exact?: Exact,
): Promise<GenerationFacts> {
  const [theirs, ours] = [await continuation(expected), await continuation(actual)];
  const prompt = theirs.prompt;
  const other = prompt.findIndex((id, i) => ours.prompt[i] !== id);
  if (other >= 0 || ours.prompt.length !== prompt.length) {
    throw new TraceError(
      `${expected.path} begins with ${prompt.length} prompt tokens, ${actual.path} with ${ours.prompt.length}, and they differ from position ${other < 0 ? Math.min(prompt.length, ours.prompt.length) : other} on; give the same prompt, or look with 'faultline tokens --against'`,
    );
  }
  for (const [{ path }, { ids }] of [
    [expected, theirs],
    [actual, ours],
  ] as const) {
    if (ids.length > 0) continue;
    throw new TraceError(
      `${path}: has ${prompt.length} prompt tokens, none after them and no values of logits; run it with -n, or record logits with --capture full`,
    );
  }
  const length = Math.max(theirs.ids.length, ours.ids.length);
  const difference = Array.from({ length }, (_, i) => i).find((i) => theirs.ids[i] !== ours.ids[i]) ?? length;
  const pairs: GeneratedPair[] = [];
  for (let index = 0; index < length; index++) {
    const sameContext = index <= difference;
    const rows = { expected: await theirs.row(index), actual: await ours.row(index) };
    const choice = (id: number | undefined, own: "expected" | "actual"): Choice | null => {
      if (id === undefined) return null;
      const at = (side: "expected" | "actual") => (sameContext || side === own ? rows[side] : null);
      const of = <T>(pick: (row: Float32Array) => T) => ({
        expected: apply(at("expected"), pick),
        actual: apply(at("actual"), pick),
      });
      return { id, logits: of((row) => row[id] ?? Number.NaN), ranks: of((row) => rankOf(row, id)) };
    };
    const pair = { expected: choice(theirs.ids[index], "expected"), actual: choice(ours.ids[index], "actual") };
    pairs.push({ index, ...pair, sameContext });
  }
  const differing = pairs[difference];
  // A side that was asked for fewer tokens has not chosen otherwise.
  const first = differing?.expected && differing.actual ? differing : null;
  const judged = exact?.comparison ?? comparison;
  const trusted = exact === undefined ? theirs : await continuation(exact.trace);
  const row = first === null ? null : await rowAt(trusted, ours, judged, first.index);
  const exactChoice = exact === undefined ? null : (row?.expectedTop ?? null);
  const own = (side: "expected" | "actual") => first?.[side]?.ranks[side] ?? 1;
  if (own("expected") !== 1) {
    throw new TraceError(
      `${expected.path}: its token ${first?.index} after the prompt has rank ${own("expected")} by its own logits, so it was sampled or penalised; give a greedy run`,
    );
  }
  const isSampled = own("actual") !== 1;
  const isNear = row !== null && (row.margin <= 2 * row.noise || row.expectedTop === row.actualTop);
  const isOff = judged.ops.some(divergentVerdict) || judged.refused.length > 0;
  return {
    ...{
      comparison,
      judged,
      exactChoice,
      prompt,
      expected: theirs.ids,
      actual: ours.ids,
      pairs,
      first,
      row,
      isSampled,
    },
    repetitions: { expected: repetitionOf(theirs.ids), actual: repetitionOf(ours.ids) },
    verdict: isOff || (first !== null && (isSampled || !isNear)) ? "divergent" : first === null ? "match" : "tie",
  };
}

const apply = <T>(row: Float32Array | null, pick: (row: Float32Array) => T) => (row === null ? null : pick(row));

/** 1 for the likeliest; of equals the lowest id first. NaN ranks last, and so does an id that the row does not have. */
function rankOf(row: Float32Array, id: number): number {
  const own = row[id] ?? Number.NaN;
  let above = 0;
  for (let other = 0; other < row.length; other++) {
    const logit = row[other] as number;
    if (logit > own || (logit === own && other < id) || (Number.isNaN(own) && !Number.isNaN(logit))) above++;
  }
  return above + 1;
}

interface Continuation {
  readonly prompt: readonly number[];
  /** The tokens after the prompt; the last is what the last logits would choose, where they were recorded. */
  readonly ids: readonly number[];
  /** The logits that generated token `index` was chosen from. */
  row(index: number): Promise<Float32Array | null>;
}

/** What a trace's run was given, and what it made of it: the first step is the prompt, the others are its own tokens. */
async function continuation(trace: Trace): Promise<Continuation> {
  const { ids, firstSteps } = traceSequence(trace);
  const length = firstSteps.filter((step) => step === 0).length;
  const logits = trace.records
    .map(({ tap, posStart, shape, hasValues }, index) => ({ tap, posStart, rows: shape.at(-2) ?? 1, index, hasValues }))
    .filter(({ tap, hasValues }) => tap === "logits" && hasValues);
  const rowOf = async (position: number) => {
    // The last record that has the position: without a cache earlier steps computed it too, alike.
    const found = logits.findLast(({ posStart, rows }) => position >= posStart && position < posStart + rows);
    if (found === undefined) return null;
    const values = await trace.values(found.index);
    const columns = values.length / found.rows;
    return values.subarray((position - found.posStart) * columns, (position - found.posStart + 1) * columns);
  };
  const last = await rowOf(ids.length - 1);
  const row = (index: number) => rowOf(length - 1 + index);
  return {
    prompt: ids.slice(0, length),
    ids: [...ids.slice(length), ...(last === null ? [] : [largest(last)[0] ?? 0])],
    row,
  };
}

/** The row of logits that the texts part at; null where one side's is missing. */
async function rowAt(
  theirs: Continuation,
  ours: Continuation,
  { ops }: Comparison,
  index: number,
): Promise<LogitsRow | null> {
  const position = theirs.prompt.length - 1 + index;
  const [expected, actual] = [await theirs.row(index), await ours.row(index)];
  const op = ops.find(
    ({ tap, posStart, shape }) => tap === "logits" && position >= posStart && position < posStart + (shape.at(-2) ?? 1),
  );
  if (expected === null || actual === null || op === undefined) return null;
  return logitsRow(expected, actual, position, op.judgement.allowed);
}
