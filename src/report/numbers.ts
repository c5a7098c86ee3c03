/** Numbers as people read them: few digits, never a hidden NaN. */

/** Four significant digits; scientific where that is shorter to read. */
export function short(value: number | null): string {
  if (value === null) return "";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "Inf" : "-Inf";
  const magnitude = Math.abs(value);
  if (value === 0 || (magnitude >= 1e-4 && magnitude < 1e5)) return String(Number(value.toPrecision(4)));
  return value.toExponential(3);
}

/** A factor; near 1 as its distance from it, which four digits would hide. */
export function nearOne(factor: number): string {
  const off = Math.abs(factor - 1);
  return off > 0 && off < 1e-2 ? `1 ${factor < 1 ? "-" : "+"} ${short(off)}` : short(factor);
}

/** How many times something is: two digits, scientific from 100000 on. */
export function timesOver(share: number): string {
  return share < 1e5 ? String(Number(share.toPrecision(2))) : share.toExponential(1);
}

/** Two numbers with as many digits as it takes to tell them apart. */
export function apart(a: number, b: number): [string, string] {
  for (let digits = 5; digits <= 9 && a !== b && short(a) === short(b); digits++) {
    const [left, right] = [a, b].map((value) => value.toPrecision(digits)) as [string, string];
    if (left !== right) return [left, right];
  }
  return [short(a), short(b)];
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
