/** Whether two outputs say the same: the same words, and figures that differ by no more than another machine's last digits. */

export interface Change {
  /** From 1 on. */
  readonly line: number;
  readonly before: string;
  readonly after: string;
}

const FIGURE = /[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?/gi;
/** Times and devices are the machine's. */
const OF_MACHINE = /, [\d.]+ s\b| on \S+: .*$/g;
/** Figures at the level of f32 rounding are the adapter's: they may move by this factor; all others by a percent. */
const ROUNDING = 1e-5;
const FACTOR = 10;
const SHARE = 0.01;

const words = (line: string) => line.replace(OF_MACHINE, "").replace(FIGURE, "#").replace(/\s+/g, " ").trim();
const figures = (line: string) => [...line.replace(OF_MACHINE, "").matchAll(FIGURE)].map(([text]) => Number(text));

function isNear(a: number, b: number): boolean {
  const [small, large] = [Math.min(Math.abs(a), Math.abs(b)), Math.max(Math.abs(a), Math.abs(b))];
  if (a === b) return true;
  if (large < ROUNDING) return true;
  return large - small <= SHARE * large || (small > 0 && large < ROUNDING * FACTOR && large / small < FACTOR);
}

/** The first line that says something else; null where none does. */
export function firstChange(before: string, after: string): Change | null {
  const [a, b] = [before.split("\n"), after.split("\n")];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [was, is] = [a[i] ?? "", b[i] ?? ""];
    const theirs = figures(is);
    const alike = words(was) === words(is) && figures(was).every((x, k) => isNear(x, theirs[k] ?? Number.NaN));
    if (!alike || a[i] === undefined || b[i] === undefined) return { line: i + 1, before: was, after: is };
  }
  return null;
}
