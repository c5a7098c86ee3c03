/**
 * A report as node data for Google's Model Explorer: a value and a colour for every op, laid over the graph whose tensors have the taps'
 * names. Format: model_explorer/node_data_builder.py, GraphNodeData of one graph.
 */
import type { Figure, Report } from "../document/schema.ts";

/** Upper ends of shares and their colours: as the map of the report page. */
const THRESHOLDS = [
  { value: 0.1, bgColor: "#d7ecd9" },
  { value: 1, bgColor: "#a9d8b0" },
  { value: 10, bgColor: "#f6c453" },
  { value: 1000, bgColor: "#e8743b" },
  { value: 1e30, bgColor: "#b3261e", textColor: "#ffffff" },
] as const;
/** JSON has no Infinity: what is not finite is this many times what is allowed. */
const BEYOND = 1e30;

/** Largest share of what is allowed over all steps, by tap; where there was no reference, the op's share of its own bound. */
export function modelExplorerJson({ taps, ops, sides }: Report): string {
  const shares = new Map<string, number>();
  for (const { tap, share, own } of ops) {
    const name = taps[tap]?.name;
    const value = numberOf(sides.expected === null ? (own?.ofWorst ?? null) : share);
    if (name !== undefined && value !== null) shares.set(name, Math.max(shares.get(name) ?? 0, value));
  }
  const results = Object.fromEntries([...shares].map(([name, value]) => [name, { value }]));
  return `${JSON.stringify({ results, thresholds: THRESHOLDS }, null, 2)}\n`;
}

const numberOf = (value: Figure) => (typeof value === "string" ? BEYOND : value);
