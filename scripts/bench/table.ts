/** Markdown. */
import type { Ratio } from "./statistics.ts";

export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(header), `|${"---|".repeat(header.length)}`, ...rows.map(line)].join("\n");
}

/** Three digits, whatever the size. */
export const short = (value: number): string =>
  value >= 99.5 ? value.toFixed(0) : value >= 9.95 ? value.toFixed(1) : value.toFixed(2);

/** `1.07 (1.02 to 1.11)`. */
export const ratioText = ({ median, least, most }: Ratio, unit = ""): string =>
  `${short(median)}${unit} (${short(least)} to ${short(most)})`;

/** `139 ms (7.2 tokens/s)`. */
export const speed = (ms: number, tokens: number): string =>
  `${short(ms)} ms (${short((1000 * tokens) / ms)} tokens/s)`;

export const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
