/** What a run records: `stats` < `sketch` < `full`, for the taps that match the globs. Decided on names, before any data moves. */
import picomatch from "picomatch";

export const CAPTURE_LEVELS = ["stats", "sketch", "full"] as const;
export type CaptureLevel = (typeof CAPTURE_LEVELS)[number];

export interface Capture {
  readonly level: CaptureLevel;
  /** Taps to record; all of the forward pass where absent. Weight taps (`weight:*`) are recorded only where a glob names them. */
  readonly taps?: readonly string[];
}

/** Says whether a tap is recorded. Several globs are alternatives; `blk.*.attn_*` and `*` match as a shell would. */
export function tapFilter(globs: readonly string[] | undefined): (tap: string) => boolean {
  if (globs === undefined || globs.length === 0) return (tap) => !tap.startsWith("weight:");
  const weightGlobs = globs.filter((glob) => glob.startsWith("weight:"));
  const matches = picomatch([...globs]);
  const matchesWeight = weightGlobs.length > 0 ? picomatch(weightGlobs) : () => false;
  return (tap) => (tap.startsWith("weight:") ? matchesWeight(tap) : matches(tap));
}
