/** Names of places inside a block: which weights share a byte's half depends on the type. src/model/blocks.ts has the layouts. */

/** Weights that lie in the low half of a byte; those of the same type that do not lie in the high half. */
const LOW_NIBBLE: Readonly<Record<string, (at: number) => boolean>> = {
  ...Object.fromEntries(["Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL"].map((type) => [type, (at: number) => at < 16])),
  // two sub-blocks of 32 share 32 bytes
  ...Object.fromEntries(["Q4_K", "Q5_K"].map((type) => [type, (at: number) => ((at >> 5) & 1) === 0])),
  // quarters 0 and 1 of each half of 128 share 64 bytes with quarters 2 and 3
  Q6_K: (at) => ((at >> 6) & 1) === 0,
};

type Place = readonly [name: string, holds: (at: number, of: number, type: string) => boolean];

const PLACES: readonly Place[] = [
  ["all", () => true],
  ["low nibbles", (at, _, type) => LOW_NIBBLE[type]?.(at) === true],
  ["high nibbles", (at, _, type) => LOW_NIBBLE[type]?.(at) === false],
  ["first half", (at, of) => 2 * at < of],
  ["second half", (at, of) => 2 * at >= of],
  ["even", (at) => at % 2 === 0],
  ["odd", (at) => at % 2 === 1],
];

/** The name of just these places of a block of `type` (`Q4_K`), or null where they have none. */
export function placesName(marks: Uint8Array, type: string): string | null {
  const named = PLACES.find(([, holds]) => marks.every((mark, at) => (mark !== 0) === holds(at, marks.length, type)));
  return named?.[0] ?? null;
}
