/**
 * A source -> the records of a trace. The plan is made from names and shapes alone: every tensor ends as a tap, as known and no
 * tap, or as unknown, and two that claim one tap are refused. Then values are read, one tensor at a time.
 */
import type { GraphNode } from "../../src/model/graph.ts";
import { elementsOf, rowsAndColumns, shapeOf } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";
import { type RecordPlan, recordFromValues, type TraceRecord } from "../../src/trace/record.ts";
import { layerOfTap } from "../../src/trace/taps.ts";
import type { MapRule } from "../maps/map-schema.ts";
import { type Found, loadMap, meaningOf } from "../maps/name-map.ts";
import { AxisTable } from "./axes.ts";
import { canonicalValues } from "./canonical.ts";
import type { Source, SourceTensor } from "./source.ts";

/** What an import must know of the model: its graph, and sizes of axes where they are known. */
export interface ImportModel {
  /** The graph of a model with this many layers. */
  readonly graph: (layers: number) => readonly GraphNode[];
  /** Dims of a weight by name; undefined where the model has no such weight. */
  readonly weightDims: (name: string) => string | undefined;
  readonly sizes: Readonly<Record<string, number>>;
}

export interface PlannedImport {
  readonly records: readonly { readonly plan: RecordPlan; readonly tensor: SourceTensor; readonly rule: MapRule }[];
  /** Names that the map knows to be no taps. */
  readonly ignored: readonly string[];
  /** Names that nothing is known of. */
  readonly unknown: readonly string[];
  /** Names whose tensors a later one of the same tap replaced. */
  readonly replaced: readonly string[];
  readonly axes: AxisTable;
}

/** Dims of the rotary tables, which no op of the graph makes. */
const TABLE_DIMS: Readonly<Record<string, string>> = { "rope.cos": "token rope_pair", "rope.sin": "token rope_pair" };

/** Plans an import. Throws InputError for shapes that contradict one another, and for taps claimed twice. */
export function planImport(source: Source, model: ImportModel, mapName = source.names): PlannedImport {
  const map = loadMap(mapName);
  const [ignored, unknown, replaced] = [new Set<string>(), new Set<string>(), new Set<string>()];
  const chosen = new Map<string, { tensor: SourceTensor; found: Found }>();
  const meanings = source.tensors.map((tensor) => ({ tensor, meaning: meaningOf(map, tensor) }));
  const layers =
    1 +
    Math.max(
      -1,
      ...meanings.map(({ meaning }) => (typeof meaning === "string" ? -1 : (layerOfTap(meaning.tap) ?? -1))),
    );
  const nodes = new Map(model.graph(layers).map((node) => [node.op.tap, node]));
  const dimsOf = (tap: string) =>
    nodes.get(tap)?.op.dims ??
    TABLE_DIMS[tap] ??
    (tap.startsWith("weight:") ? model.weightDims(tap.slice("weight:".length)) : undefined);

  for (const { tensor, meaning } of meanings) {
    if (meaning === "ignored") ignored.add(tensor.name);
    else if (meaning === "unknown" || dimsOf(meaning.tap) === undefined) unknown.add(tensor.name);
    else {
      const key = `${tensor.step} ${meaning.tap}`;
      const earlier = chosen.get(key);
      if (earlier !== undefined && !meaning.rule.overrides) {
        throw new InputError(
          `${tensor.where}: ${earlier.tensor.name} (${earlier.tensor.op || "no op"}) and ${tensor.name} (${tensor.op || "no op"}) are both ${meaning.tap} of step ${tensor.step}; a map must tell them apart by op or weight`,
        );
      }
      if (earlier !== undefined) replaced.add(`${earlier.tensor.name} ${earlier.tensor.op}`.trim());
      chosen.delete(key); // the later one stands where it was computed
      chosen.set(key, { tensor, found: meaning });
    }
  }
  if (chosen.size === 0) {
    throw new InputError(
      `none of the ${source.tensors.length} tensors is a tap by the names of ${mapName} (${[...unknown].slice(0, 3).join(", ")}); give a map with --map (docs/writing-a-dumper.md)`,
    );
  }

  const axes = new AxisTable(model.sizes);
  const local = ({ step }: SourceTensor) => {
    const { pos_start = 0, tokens = [] } = source.steps[step] ?? {};
    return { posStart: pos_start, token: tokens.length, key: pos_start + tokens.length };
  };
  // Arrays with unmerged axes say the sizes that merged ones need, so all are bound before any is used.
  for (const { tensor, found } of chosen.values()) {
    const { token, key } = local(tensor);
    const shape = found.rule.padded
      ? [...tensor.shape.slice(0, -1), Math.min(key, tensor.shape.at(-1) ?? key)]
      : tensor.shape;
    axes.bind(tensor.where, found.rule.axes ?? dimsOf(found.tap) ?? "", shape, { token, key });
  }
  const records = [...chosen.values()].map(({ tensor, found }) => {
    const { posStart, token, key } = local(tensor);
    const { tap, rule } = found;
    const node = nodes.get(tap);
    const dims = dimsOf(tap) ?? "";
    if ((rule.halves || rule.unscaled) && axes.get("head_dim") === undefined) {
      throw new InputError(
        `${tensor.where}: ${tap} needs the size of a head, which no array tells; give the model with --model`,
      );
    }
    const plan: RecordPlan = {
      step: tensor.step,
      posStart,
      tap,
      op: node?.op.kind ?? (tap.startsWith("weight:") ? "weight" : "rope_table"),
      dtype: tensor.dtype,
      dims,
      layer: layerOfTap(tap),
      shape: shapeOfBound(dims, tensor, rule, axes, { token, key }),
      inputs: node?.inputs.map((input) => input.tap) ?? [],
      weights: node?.op.weights ?? (tap.startsWith("weight:") ? [tap.slice("weight:".length)] : []),
    };
    return { plan, tensor, rule };
  });
  return { records, ignored: [...ignored], unknown: [...unknown], replaced: [...replaced], axes };
}

/** The tap's shape. A merged axis of unknown factors takes its size from the array, whose axes are then the tap's own. */
function shapeOfBound(
  dims: string,
  tensor: SourceTensor,
  rule: MapRule,
  axes: AxisTable,
  local: { token: number; key: number },
): number[] {
  const sizes = { ...axes.sizes, ...local };
  try {
    return shapeOf(dims, sizes);
  } catch {
    if (rule.axes !== undefined)
      throw new InputError(
        `${tensor.where}: the sizes of ${dims} do not follow from the arrays; give the model with --model`,
      );
    const columns = tensor.shape.at(-1) ?? 1;
    return [elementsOf(tensor.shape) / columns, columns];
  }
}

/** Reads the planned tensors, one after the other. Sequence numbers are the writer's. */
export function* importRecords(
  { records, axes }: PlannedImport,
  keep: { readonly sketch: boolean; readonly values: boolean },
): Generator<Omit<TraceRecord, "seq">> {
  for (const { plan, tensor, rule } of records) {
    if (tensor.content.kind === "values") {
      const values = canonicalValues(tensor.content.read(), tensor.shape, rule, plan, axes, tensor.where);
      yield recordFromValues(plan, 0, values, keep);
    } else {
      const { statistics } = tensor.content;
      const { rows } = rowsAndColumns(plan.shape);
      yield {
        ...plan,
        statistics,
        rowRms: new Float32Array(rows).fill(Number.NaN),
        sketch: new Float32Array(0),
        hash: 0n,
        elapsedUs: null,
        values: null,
      };
    }
  }
}
