/** What a run records: `stats` < `sketch` < `full`, for the taps that match the globs. Decided on names, before any data moves. */
import picomatch from "picomatch";

export const CAPTURE_LEVELS = ["stats", "sketch", "full"] as const;
export type CaptureLevel = (typeof CAPTURE_LEVELS)[number];

/** What of a step is recorded. */
export interface Recording {
  readonly level: CaptureLevel;
  readonly wants: (tap: string) => boolean;
}

/** Says whether a tap is recorded. Weight taps are only where a glob names them: `weight:*`. */
export function tapFilter(globs: readonly string[] | undefined): (tap: string) => boolean {
  if (globs === undefined) return (tap) => !tap.startsWith("weight:");
  const matches = tapMatcher(globs);
  const matchesWeight = tapMatcher(globs.filter((glob) => glob.startsWith("weight:")));
  return (tap) => (tap.startsWith("weight:") ? matchesWeight(tap) : matches(tap));
}

/** Says whether a tap matches one of the globs, as a shell would: `blk.*.attn_*`, `blk.{0,1}.output`, `*`. */
export function tapMatcher(globs: readonly string[]): (tap: string) => boolean {
  return globs.length === 0 ? () => false : picomatch([...globs]);
}
