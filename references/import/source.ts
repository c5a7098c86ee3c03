/** What every kind of import comes down to: tensors under an engine's own names, with facts before data. */
import type { Statistics } from "../../src/trace/statistics.ts";
import type { Dump } from "../dump-schema.ts";

/** One tensor of another engine. Either its values can be read, or only statistics are known. */
export interface SourceTensor {
  readonly step: number;
  readonly name: string;
  readonly op: string;
  readonly weight: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Where it stands, for messages. */
  readonly where: string;
  readonly content: { readonly kind: "values"; readonly read: () => Float32Array } | SourceStatistics;
}

/** Statistics without values. What is not known is NaN; row RMS, sketch and hash never are known. */
export interface SourceStatistics {
  readonly kind: "statistics";
  readonly statistics: Statistics;
}

/** Statistics of `count` elements of which only these are known. */
export function knownStatistics(count: number, known: Partial<Statistics>): SourceStatistics {
  const [nanCount, infCount, zeroCount, maxAbsIndex] = [0, 0, 0, 0];
  const [min, max, maxAbs, mean, rms] = Array<number>(5).fill(Number.NaN) as [number, number, number, number, number];
  const unknown = { nanCount, infCount, zeroCount, maxAbsIndex, min, max, maxAbs, mean, rms };
  return { kind: "statistics", statistics: { ...unknown, ...known, count } };
}

/** Who made the source, from what, and the forward passes it has. */
export interface SourceFacts {
  readonly producer: Dump["producer"];
  /** Name or path of the map. */
  readonly names: string;
  readonly model: { readonly file: string; readonly architecture: string };
  readonly prompt: string | null;
  readonly steps: Dump["steps"];
}

export interface Source extends SourceFacts {
  readonly tensors: readonly SourceTensor[];
  /** Names that were left out as the source was read, and why. */
  readonly leftOut: readonly LeftOut[];
}

export interface LeftOut {
  readonly name: string;
  readonly reason: string;
}

/** What the user says of a source that does not say it itself. */
export interface SourceOptions {
  /** Token ids of each forward pass. */
  readonly tokens?: readonly (readonly number[])[];
  /** What products were rounded to. */
  readonly dtype?: string;
}
