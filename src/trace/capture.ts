/** What a run records: `stats` < `sketch` < `full`, for the taps that match the globs. Decided on names, before any data moves. */
import picomatch from "picomatch";

export const CAPTURE_LEVELS = ["stats", "sketch", "full"] as const;
export type CaptureLevel = (typeof CAPTURE_LEVELS)[number];

/** What of a step is recorded. */
export interface Recording {
  readonly level: CaptureLevel;
  readonly wants: (tap: string) => boolean;
}

/** Says whether a tap is recorded. Several globs are alternatives; `blk.*.attn_*` and `*` match as a shell would. */
export function tapFilter(globs: readonly string[] | undefined): (tap: string) => boolean {
  if (globs === undefined || globs.length === 0) return (tap) => !tap.startsWith("weight:");
  const weightGlobs = globs.filter((glob) => glob.startsWith("weight:"));
  const matches = picomatch([...globs]);
  const matchesWeight = weightGlobs.length > 0 ? picomatch(weightGlobs) : () => false;
  return (tap) => (tap.startsWith("weight:") ? matchesWeight(tap) : matches(tap));
}
