/** Decoded weights against an independent decoder's, by their hashes. weight-difference.ts looks into a tensor that differs. */
import { BLOCK_TYPES } from "../model/blocks.ts";
import { rowsAndColumns } from "../trace/dims.ts";
import { InputError } from "../trace/errors.ts";
import type { TraceRecord } from "../trace/record.ts";

/** A tensor as one decoder gave it. */
export interface WeightHash {
  readonly rows: number;
  readonly columns: number;
  /** Lower case: q4_k, f16, ... */
  readonly type: string;
  readonly hash: bigint;
}
export type WeightHashes = ReadonlyMap<string, WeightHash>;

/** What hashes alone tell. Every tensor of either side is in just one of the lists. */
export interface WeightAgreement {
  /** Agree to the bit. */
  readonly same: readonly string[];
  /** Blocks of these; of types without blocks (F32, F16, BF16) elements. */
  readonly sameBlocks: number;
  readonly differing: readonly string[];
  /** Not comparable: the sides do not agree on rows, columns or type. */
  readonly unlike: readonly { readonly name: string; readonly engine: string; readonly independent: string }[];
  /** Only one side has them. */
  readonly engineOnly: readonly string[];
  readonly independentOnly: readonly string[];
}

const PREFIX = "weight:";

/** The weights that a trace recorded, by name. */
export function recordedWeights(
  records: Iterable<Pick<TraceRecord, "tap" | "dtype" | "shape" | "hash">>,
): WeightHashes {
  const weights = [...records].filter(({ tap }) => tap.startsWith(PREFIX));
  return new Map(
    weights.map(({ tap, dtype, shape, hash }) => [
      tap.slice(PREFIX.length),
      { ...rowsAndColumns(shape), type: dtype, hash },
    ]),
  );
}

function blocksOf(weight: WeightHash | undefined): number {
  if (weight === undefined) return 0;
  const block = BLOCK_TYPES.find(({ name }) => name === weight.type.toUpperCase());
  return (weight.rows * weight.columns) / (block?.elements ?? 1);
}

const layoutOf = ({ rows, columns, type }: WeightHash) => `${rows} x ${columns} ${type}`;

/** Compares hashes by name. Throws InputError where the two have no tensor in common: nothing compared is no agreement. */
export function weightAgreement(engine: WeightHashes, independent: WeightHashes): WeightAgreement {
  const judged = [...engine].flatMap(([name, ours]) => {
    const theirs = independent.get(name);
    if (theirs === undefined) return [];
    const layouts = { engine: layoutOf(ours), independent: layoutOf(theirs) };
    const alike = layouts.engine === layouts.independent;
    return [{ name, found: !alike ? "unlike" : ours.hash === theirs.hash ? "same" : "differing", ...layouts }];
  });
  if (judged.length === 0) {
    throw new InputError(
      `no weight to compare: the trace has ${engine.size}, the independent decoder ${independent.size}, none of one name; trace with --taps 'weight:*'`,
    );
  }
  const named = (wanted: string) => judged.filter(({ found }) => found === wanted);
  const same = named("same").map(({ name }) => name);
  return {
    same,
    sameBlocks: same.reduce((sum, name) => sum + blocksOf(engine.get(name)), 0),
    differing: named("differing").map(({ name }) => name),
    unlike: named("unlike").map(({ name, engine, independent }) => ({ name, engine, independent })),
    engineOnly: [...engine.keys()].filter((name) => !independent.has(name)),
    independentOnly: [...independent.keys()].filter((name) => !engine.has(name)),
  };
}
