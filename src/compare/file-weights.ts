/** Weights as the model's file holds them, decoded here a slab at a time, and whether the weights that a run recorded are these. */
import type { TensorInfo, WeightFile } from "../model/gguf.ts";
import { roundToBfloat16, roundToHalf } from "../model/half.ts";
import type { RecordSummary } from "../trace/reader.ts";
import { HashFold } from "../trace/sketch.ts";
import { rowStatistics, type Statistics, StatisticsFold } from "../trace/statistics.ts";
import { layerOfTap, nameInLayer } from "../trace/taps.ts";

export interface FileWeight {
  readonly name: string;
  readonly layer: number | null;
  /** Lower case, as in a trace: q4_k, f16, ... */
  readonly type: string;
  readonly shape: readonly number[];
  readonly statistics: Statistics;
  /** As in a trace: src/trace/sketch.ts. */
  readonly hash: bigint;
}

/** Decoded elements held at a time. */
const SLAB = 1 << 20;

/** A tensor row by row, as slabs of whole rows decoded to f32. */
function* slabs(file: WeightFile, tensor: TensorInfo): Generator<Float32Array> {
  const step = Math.max(1, Math.floor(SLAB / tensor.columns));
  for (let first = 0; first < tensor.rows; first += step) {
    yield file.decodeRows(tensor, first, Math.min(step, tensor.rows - first));
  }
}

/** Statistics and hash of a tensor of the file. Throws ModelError where the file has none of that name. */
export function fileWeight(file: WeightFile, name: string): FileWeight {
  const tensor = file.tensor(name);
  const [fold, hash] = [new StatisticsFold(tensor.rows), new HashFold()];
  for (const slab of slabs(file, tensor)) {
    hash.add(slab);
    for (let at = 0; at < slab.length; at += tensor.columns) {
      fold.add(rowStatistics(slab.subarray(at, at + tensor.columns)));
    }
  }
  return {
    ...{ name, layer: layerOfTap(name), type: tensor.type.name.toLowerCase(), shape: tensor.shape },
    ...{ statistics: fold.statistics(), hash: hash.hash },
  };
}

/** Narrower types that engines hold decoded weights in. */
const NARROWER = { f16: roundToHalf, bf16: roundToBfloat16 } as const;

/** `differs`: neither the file's bits nor these rounded to f16 or bf16. `unknown`: recorded without a hash. */
export const RECORDED = ["same", "same in f16", "same in bf16", "differs", "unknown"] as const;
export type Recorded = (typeof RECORDED)[number];

/** Whether the weight that a run recorded is the file's, by its hash. */
export function recordedAs(file: WeightFile, weight: FileWeight, { hash }: Pick<RecordSummary, "hash">): Recorded {
  if (hash === 0n) return "unknown";
  if (hash === weight.hash) return "same";
  const narrow = (["f16", "bf16"] as const).find((name) => hash === narrowedHash(file, weight, NARROWER[name]));
  return narrow === undefined ? "differs" : `same in ${narrow}`;
}

function narrowedHash(file: WeightFile, { name }: FileWeight, narrow: (value: number) => number): bigint {
  const fold = new HashFold();
  for (const slab of slabs(file, file.tensor(name))) fold.add(slab.map(narrow));
  return fold.hash;
}

/** A weight that layers have each their own of, over all of these; or a single one. */
export interface WeightKind {
  /** `attn_q.weight`, `token_embd.weight`. */
  readonly kind: string;
  readonly types: readonly string[];
  readonly count: number;
  /** Of the tensors' RMS; null where none holds a finite element. The lower of two middles. */
  readonly rms: { readonly least: FileWeight; readonly median: FileWeight; readonly most: FileWeight } | null;
  /** Over all; NaN where nothing is finite. */
  readonly maxAbs: number;
  readonly zeros: number;
  readonly nonFinite: number;
}

/** A summary per kind of weight. No tensor is called an outlier: nothing bounds how far the weights of layers may differ. */
export function weightKinds(weights: readonly FileWeight[]): WeightKind[] {
  const kinds = new Map<string, FileWeight[]>();
  for (const weight of weights) {
    const kind = nameInLayer(weight.name);
    kinds.set(kind, [...(kinds.get(kind) ?? []), weight]);
  }
  return [...kinds].map(([kind, of]) => {
    const known = of.filter(({ statistics }) => !Number.isNaN(statistics.rms));
    const [least, ...more] = known.sort((a, b) => a.statistics.rms - b.statistics.rms);
    const median = known[(known.length - 1) >> 1];
    const sum = (figure: (statistics: Statistics) => number) =>
      of.reduce((total, { statistics }) => total + figure(statistics), 0);
    return {
      ...{ kind, types: [...new Set(of.map(({ type }) => type))], count: of.length },
      rms: least === undefined || median === undefined ? null : { least, median, most: more.at(-1) ?? least },
      maxAbs: known.reduce((most, { statistics }) => Math.max(most, statistics.maxAbs), known.length ? 0 : Number.NaN),
      zeros: sum(({ zeroCount }) => zeroCount),
      nonFinite: sum(({ nanCount, infCount }) => nanCount + infCount),
    };
  });
}
