/** What making a trace gave, for whoever asked for it. */
export interface TraceFacts {
  readonly file: string;
  readonly records: number;
  readonly steps: number;
  readonly prompt: readonly number[];
  readonly generated: readonly number[];
  readonly device: string;
  readonly elapsedMs: number;
  /** Largest resident memory of the process so far. */
  readonly peakRssBytes: number;
}
