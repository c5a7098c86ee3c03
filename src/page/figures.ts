/** Figures as they are read: numbers, and how far something is beyond what is allowed. */
import type { Figure, ReportOp } from "../report/document/schema.ts";

/** The document's numbers have four digits; long exponents are shown as such. */
export function shown(value: Figure): string {
  if (value === null) return "unknown";
  if (typeof value === "string") return value;
  const size = Math.abs(value);
  return value !== 0 && (size < 1e-4 || size >= 1e5) ? value.toExponential(2) : String(value);
}

/** Ticks at powers of ten only: `1e-4`, `0.1`, `100`. */
export function power(value: number): string {
  const exponent = Math.log10(value);
  if (Math.abs(exponent - Math.round(exponent)) > 1e-9) return "";
  return value < 1e-3 || value >= 1e5 ? value.toExponential(0) : String(value);
}

/** A number, or NaN where it is not finite or not known. */
export const numeric = (value: Figure): number => (typeof value === "number" ? value : Number.NaN);

export interface Level {
  /** Class of the cell, from l0 (nothing known) to l5. */
  readonly name: string;
  readonly text: string;
}

/** What the map can show of an op. Upper ends of its levels; what is not finite is in the last. */
export interface Measure {
  readonly label: string;
  readonly intro: string;
  readonly of: (op: ReportOp) => Figure;
  readonly levels: readonly (readonly [most: number, level: Level])[];
}

const shares = (of: string): Measure["levels"] => [
  [0.1, { name: "l1", text: `below a tenth of ${of}` }],
  [1, { name: "l2", text: `within ${of}` }],
  [10, { name: "l3", text: `up to 10 times ${of}` }],
  [1000, { name: "l4", text: "up to 1000 times" }],
  [Number.POSITIVE_INFINITY, { name: "l5", text: "more, or not finite" }],
];

export const MEASURES: Readonly<Record<"budget" | "error" | "own", Measure>> = {
  budget: {
    label: "share of what is allowed",
    intro:
      "how far it is from the reference, as a share of what rounding allows. Below a first difference allowances follow what was measured above",
    // After other tokens nothing is judged by a budget.
    of: ({ share, verdict }) => (verdict === "other-context" ? null : share),
    levels: shares("what is allowed"),
  },
  error: {
    label: "relative error",
    intro: "how far it is from the reference: relL2, whatever caused it",
    of: ({ measured }) => measured,
    levels: [
      [1e-6, { name: "l1", text: "relL2 up to 1e-6" }],
      [1e-4, { name: "l2", text: "1e-4" }],
      [1e-2, { name: "l3", text: "0.01" }],
      [1e-1, { name: "l4", text: "0.1" }],
      [Number.POSITIVE_INFINITY, { name: "l5", text: "more, or not finite" }],
    ],
  },
  own: {
    label: "its own error",
    intro: "what it got wrong by itself, recomputed from its own inputs, as a share of the rigorous bound",
    of: ({ own }) => own?.ofWorst ?? null,
    levels: shares("the bound"),
  },
};

export const UNKNOWN: Level = { name: "l0", text: "not judged" };

export function levelOf(value: Figure, { levels }: Measure): Level {
  if (value === null) return UNKNOWN;
  const size = typeof value === "string" ? Number.POSITIVE_INFINITY : value;
  return levels.find(([most]) => size <= most)?.[1] ?? UNKNOWN;
}
