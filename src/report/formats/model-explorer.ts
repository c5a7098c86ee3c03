/**
 * A report for Google's Model Explorer: the traced ops as a graph, and node data that lies over it, or over any other graph whose nodes or
 * tensors have the taps' names. Formats: model_explorer/graph_builder.py (Graph) and node_data_builder.py (GraphNodeData).
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
/** As on the report's map: colour is not the only mark. */
const AT_FAULT = "✕";
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
  return `${JSON.stringify({ name: "share of what is allowed", results, thresholds: THRESHOLDS }, null, 2)}\n`;
}

const numberOf = (value: Figure) => (typeof value === "string" ? BEYOND : value);

/** The ops of the trace as a graph: layers are groups, edges the inputs that the trace names, attributes what is known of each op. */
export function modelExplorerGraph({ taps, ops, sides, findings }: Report): string {
  const known = new Set(taps.map(({ name }) => name));
  const nodes = taps.map(({ name, kind, layer, column, dims, inputs, weights }, index) => {
    const worst = ops
      .filter(({ tap }) => tap === index)
      .reduce<Report["ops"][number] | null>((most, op) => (shareOf(op) > shareOf(most) ? op : most), null);
    const found = findings.find(({ tap }) => tap === index);
    const facts = {
      ...{ op: kind, dims, weights: weights.join(", "), finding: found?.sentence },
      ...{ verdict: worst?.verdict, step: worst?.step, relL2: worst?.measured, allowed: worst?.allowed },
      ...{ "by itself": worst?.own?.verdict, "own relL2": worst?.own?.relL2 },
    };
    return {
      ...{
        id: name,
        label: found === undefined ? column : `${AT_FAULT} ${column}`,
        namespace: layer === null ? "" : `blk.${layer}`,
      },
      attrs: Object.entries(facts)
        .filter(([, value]) => value !== undefined && value !== null && value !== "")
        .map(([key, value]) => ({ key, value: String(value) })),
      incomingEdges: inputs
        .filter((input) => known.has(input))
        .map((input, at) => ({ sourceNodeId: input, sourceNodeOutputId: "0", targetNodeInputId: String(at) })),
    };
  });
  return `${JSON.stringify({ label: sides.actual, graphs: [{ id: "ops", nodes }] }, null, 1)}\n`;
}

const shareOf = (op: Report["ops"][number] | null) => (op === null ? -1 : (numberOf(op.share) ?? 0));
