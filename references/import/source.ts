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

/** Statistics without values. What is not known is NaN; row RMS, sketch and hash never are. */
export interface SourceStatistics {
  readonly kind: "statistics";
  readonly statistics: Statistics;
}

export interface Source {
  readonly producer: Dump["producer"];
  /** Name or path of the map. */
  readonly names: string;
  readonly model: { readonly file: string; readonly architecture: string };
  readonly prompt: string | null;
  readonly steps: Dump["steps"];
  readonly tensors: readonly SourceTensor[];
}
