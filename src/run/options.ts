/** What a run is asked for: the prompt, and what computes it. */

/** Where a run may compute: the first adapter, one of a kind, or the f64 oracle on the CPU. */
export const DEVICES = ["auto", "hardware", "software", "oracle"] as const;
export type DeviceOption = (typeof DEVICES)[number];

/** One of prompt, chat and tokens. */
export interface PromptOptions {
  /** Tokenised as it stands. */
  readonly prompt?: string;
  /** A user's message, put into the model's chat template. */
  readonly chat?: string;
  /** System message for `chat`. */
  readonly system?: string;
  /** Token ids instead of text. */
  readonly tokens?: readonly number[];
}

export interface EngineOptions {
  readonly device: DeviceOption;
  /** What op outputs are stored in; sums are f32 either way. */
  readonly dtype: "f32" | "f16";
  /** Layers to run: none, 3, 0-2 or 0-4,7; all unless told. */
  readonly layers?: string;
  /** False: the whole sequence is run again at every step. */
  readonly kvCache: boolean;
  /** Bugs to plant, as `faultline faults` lists them: id[@tap][:value]. */
  readonly fault?: readonly string[];
}
