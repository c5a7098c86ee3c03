/** What the rules of blind spots ask of a run: its rows, positions, keys and decode steps, and what is known of its values. */
import type { Model } from "../../model/model.ts";
import type { StepTokens } from "../../oracle/op-case.ts";
import type { CaptureLevel } from "../../trace/capture.ts";
import type { Statistics } from "../../trace/statistics.ts";
import { type Labels, type Row, rowLabels } from "./row-labels.ts";

/** What is known of one tensor. A record of a trace will do. */
export interface TapStatistics {
  readonly statistics: Pick<Statistics, "min" | "max" | "maxAbs" | "rms">;
  readonly rowRms: ArrayLike<number>;
  /** Least |x| of elements that are not 0, where all values are at hand. */
  readonly leastAbs?: number;
}

export interface CaptureFacts {
  readonly level: CaptureLevel;
  /** What outputs are stored in; f32 unless told. */
  readonly dtype?: string;
  /** False where every step computes the whole sequence again. */
  readonly kvCache?: boolean;
  /** Statistics of the run, where it was traced; null for what was not recorded. Without them nothing is said of values. */
  readonly statistics?: (step: number, tap: string) => TapStatistics | null;
}

export interface BlindRun {
  readonly steps: readonly StepTokens[];
  readonly capture: CaptureFacts;
}

/** What a factor common to all elements must reach to be told from rounding: 16 u of a sum in f32, u of a store in f16. */
const LEAST_EFFECT: Readonly<Record<string, number>> = { f32: 2 ** -20, f16: 2 ** -11, bf16: 2 ** -8 };

export class RunFacts {
  readonly model: Model;
  readonly capture: CaptureFacts;
  readonly steps: readonly StepTokens[];
  readonly rows: readonly Row[];
  /** Indices of rows that are a step of their own after others. */
  readonly decodeRows: readonly number[];
  /** Most rows of one step. */
  readonly mostRows: number;
  readonly lastPosition: number;
  readonly #labels: ReadonlyMap<string, Labels>;

  constructor(model: Model, { steps, capture }: BlindRun) {
    this.model = model;
    this.capture = capture;
    this.steps = steps;
    this.rows = rowsOf(steps);
    const isAlone = ({ step, position }: Row) => steps[step]?.tokens.length === 1 && position > 0;
    this.decodeRows = capture.kvCache === false ? [] : this.rows.flatMap((row, i) => (isAlone(row) ? [i] : []));
    this.mostRows = steps.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
    this.lastPosition = this.rows.reduce((last, { position }) => Math.max(last, position), 0);
    this.#labels = rowLabels(model, this.rows);
  }

  get leastEffect(): number {
    return LEAST_EFFECT[this.capture.dtype ?? "f32"] ?? 2 ** -20;
  }

  labels(tap: string): Labels {
    return this.#labels.get(tap) ?? new Uint32Array(this.rows.length);
  }

  /** True if two rows of one step differ at this tap. */
  rowsDiffer(tap: string): boolean {
    const labels = this.labels(tap);
    return this.rows.some(({ step }, i) => step === this.rows[i - 1]?.step && labels[i] !== labels[i - 1]);
  }

  /** True if the row of a decode step differs from the row before it at this tap. */
  decodesDiffer(tap: string): boolean {
    const labels = this.labels(tap);
    return this.decodeRows.some((i) => labels[i] !== labels[i - 1]);
  }

  /** What is known of a tap in each step; null unless something is known of all. */
  statistics(tap: string): readonly TapStatistics[] | null {
    const known = this.steps.map((_, step) => this.capture.statistics?.(step, tap) ?? null);
    const found = known.filter((each) => each !== null);
    return found.length === known.length && found.every(({ statistics }) => !Number.isNaN(statistics.rms))
      ? found
      : null;
  }
}

function rowsOf(steps: readonly StepTokens[]): Row[] {
  const rows: Row[] = [];
  let start = 0;
  for (const [step, { posStart, tokens }] of steps.entries()) {
    if (posStart === 0) start = rows.length;
    for (const [i, token] of tokens.entries()) rows.push({ step, token, position: posStart + i, start });
  }
  return rows;
}
