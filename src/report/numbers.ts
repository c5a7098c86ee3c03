/** Numbers as people read them: few digits, never a hidden NaN. */

/** Four significant digits; scientific where that is shorter to read. */
export function short(value: number | null): string {
  if (value === null) return "";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "Inf" : "-Inf";
  const magnitude = Math.abs(value);
  if (value === 0 || (magnitude >= 1e-4 && magnitude < 1e5)) return String(Number(value.toPrecision(4)));
  return value.toExponential(3);
}

/** A figure, or a question mark where it is not known. */
export function figure(value: number | null): string {
  return value === null ? "?" : short(value);
}

/** Milliseconds as seconds with one decimal. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** A piece of text on one line: control characters, bidirectional marks and separators are shown as escapes. */
export function visible(text: string): string {
  return [...text]
    .map((character) =>
      /[\p{C}\p{Zl}\p{Zp}]/u.test(character) ? `\\u{${character.codePointAt(0)?.toString(16)}}` : character,
    )
    .join("");
}
