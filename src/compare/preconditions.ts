/** What two traces must have in common, and what a reader must know of them. */
import type { GraphNode } from "../model/graph.ts";
import { graphOfArchitecture } from "../model/model.ts";
import { TraceError } from "../trace/errors.ts";
import type { Trace } from "../trace/reader.ts";
import { layerOfTap } from "../trace/taps.ts";
import type { ComparedOp } from "./judged-pair.ts";

/** Sizes that two traces of one model share. Layers may be left out of a run: their number is the model's, not the run's. */
export const SIZES = ["embd", "heads", "kvHeads", "headDim", "ffn", "vocab", "layers"] as const;

/** Two models, or other layers of one, cannot be compared. Throws TraceError naming what differs. */
export function checkModels(expected: Trace, actual: Trace): void {
  const [e, a] = [expected.manifest.model, actual.manifest.model];
  for (const name of SIZES) {
    const [of, to] = [e.hyperParameters[name], a.hyperParameters[name]];
    if (of !== undefined && to !== undefined && of !== to) {
      throw new TraceError(
        `${expected.path} is of ${e.file} (${name} ${of}), ${actual.path} of ${a.file} (${name} ${to}); compare traces of one model`,
      );
    }
  }
  const [ofLayers, toLayers] = [expected, actual].map(({ manifest }) => manifest.producer.settings.layers ?? null);
  if (ofLayers !== toLayers) {
    throw new TraceError(
      `${expected.path} ran ${ofLayers === null ? "all layers" : `layers ${ofLayers}`}, ${actual.path} ${toLayers === null ? "all" : toLayers}; without the same layers everything after them must differ`,
    );
  }
}

/** Deeper than any model: the number in a tap's name is a claim that a graph is built for. */
const MOST_LAYERS = 4096;

/**
 * The graph of the traces' architecture, as deep as the deepest tap. Throws TraceError for an architecture that is not known, and for
 * taps of layers that no model has.
 */
export function graphOf(expected: Trace, actual: Trace): readonly GraphNode[] {
  const records = [...expected.records, ...actual.records];
  const layers = 1 + Math.max(-1, ...new Set(records.map((record) => layerOfTap(record.tap) ?? -1)));
  if (layers > MOST_LAYERS) {
    throw new TraceError(
      `${expected.path} and ${actual.path}: a tap names layer ${layers - 1}, and layers are counted up to ${MOST_LAYERS - 1}; make the trace again`,
    );
  }
  const names = [expected, actual].map((trace) => trace.manifest.model.architecture);
  for (const name of names) {
    const graph = graphOfArchitecture(name, layers);
    if (graph !== null) return graph;
  }
  throw new TraceError(
    `${expected.path}: architecture ${names[0] ?? ""} is not known; traces of llama models can be compared`,
  );
}

/** Notes that belong beside a verdict. */
export function warningsOf(expected: Trace, actual: Trace, ops: readonly ComparedOp[]): string[] {
  const warnings: string[] = [];
  for (const trace of [expected, actual])
    if (trace.partial) warnings.push(`${trace.path} is partial: it was never finished`);
  const [e, a] = [expected.manifest.model, actual.manifest.model];
  if (e.sha256 !== null && a.sha256 !== null && e.sha256 !== a.sha256) {
    warnings.push(
      `the models differ: ${e.file} (sha256 ${e.sha256.slice(0, 12)}) and ${a.file} (${a.sha256.slice(0, 12)})`,
    );
  }
  for (const trace of [expected, actual]) {
    if (trace.manifest.faults.length > 0)
      warnings.push(`${trace.path} has planted faults: ${trace.manifest.faults.join(", ")}`);
  }
  const zero = ops.filter(({ rms }) => rms.expected === 0 && rms.actual === 0);
  if (zero.length > 0)
    warnings.push(
      `${zero.length} of ${ops.length} records are zero on both sides (${zero[0]?.tap}, ...): nothing shows there`,
    );
  return warnings;
}
