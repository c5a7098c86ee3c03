/**
 * A source -> the records of a trace. The plan is made from names and shapes alone (choose.ts, axes.ts). Then values are read, one
 * tensor at a time.
 */
import { elementsOf, parseDims, rowsAndColumns, shapeOf } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";
import { type RecordPlan, recordFromValues, type TraceRecord } from "../../src/trace/record.ts";
import { layerOfTap } from "../../src/trace/taps.ts";
import type { MapRule } from "../maps/map-schema.ts";
import { loadMap } from "../maps/name-map.ts";
import { AxisTable } from "./axes.ts";
import { canonicalValues } from "./canonical.ts";
import { type Choice, type ChosenTensor, chooseTensors, type ImportModel } from "./choose.ts";
import type { Source, SourceTensor } from "./source.ts";

export interface PlannedImport extends Omit<Choice, "chosen"> {
  readonly records: readonly { readonly plan: RecordPlan; readonly tensor: SourceTensor; readonly rule: MapRule }[];
  readonly axes: AxisTable;
}

/** Where a tensor's rows stand: the position of the first, how many, and how many keys the last one sees. */
interface Rows {
  readonly posStart: number;
  readonly token: number;
  readonly key: number;
}

/** Plans an import. Throws InputError for shapes that contradict one another, and for taps claimed twice. */
export function planImport(source: Source, model: ImportModel, mapName = source.names): PlannedImport {
  const { chosen, ...rest } = chooseTensors(source, model, loadMap(mapName), mapName);
  const axes = new AxisTable(model.sizes);
  // Arrays with unmerged axes say the sizes that merged ones need, so all are bound before any is used.
  const bound = chosen.map((each) => {
    checkRule(each);
    return { ...each, rows: bindTensor(each, source, axes) };
  });
  const records = bound.map(({ tensor, found, node, dims, rows }) => {
    const { tap, rule } = found;
    checkHead(tensor, tap, rule, axes);
    const plan: RecordPlan = {
      step: tensor.step,
      posStart: rows.posStart,
      tap,
      op: node?.op.kind ?? (tap.startsWith("weight:") ? "weight" : "rope_table"),
      dtype: tensor.dtype,
      dims,
      layer: layerOfTap(tap),
      shape: shapeOfBound(dims, tensor, rule, axes, rows),
      inputs: node?.inputs.map((input) => input.tap) ?? [],
      weights: node?.op.weights ?? (tap.startsWith("weight:") ? [tap.slice("weight:".length)] : []),
    };
    if (elementsOf(plan.shape) !== elementsOf(tensor.shape) && !rule.padded) throw contradiction(tensor, plan);
    return { plan, tensor, rule };
  });
  return { records, axes, ...rest };
}

/** Throws where a rule says what its tap cannot have. */
function checkRule({ tensor, found: { rule, tap }, dims }: ChosenTensor): void {
  const own = parseDims(dims).flat();
  const bad = (why: string) => new InputError(`${tensor.where}: its map says ${why}, but ${tap} is ${dims}`);
  if (rule.axes !== undefined && parseDims(rule.axes).flat().sort().join(" ") !== [...own].sort().join(" "))
    throw bad(`axes ${rule.axes}`);
  if (rule.halves && !own.includes("head_dim")) throw bad("halves");
  if (rule.padded && !own.includes("key")) throw bad("padded");
}

/** Binds the axes of a tensor. One row where the step has more is the last token's: engines leave out rows that nobody asked for. */
function bindTensor({ tensor, found, dims }: ChosenTensor, source: Source, axes: AxisTable): Rows {
  const { pos_start = 0, tokens = [] } = source.steps[tensor.step] ?? {};
  const key = pos_start + tokens.length;
  const shape = found.rule.padded
    ? [...tensor.shape.slice(0, -1), Math.min(key, tensor.shape.at(-1) ?? key)]
    : tensor.shape;
  const named = found.rule.axes ?? dims;
  const all = { token: tokens.length, key };
  const last = { token: 1, key };
  const local = !axes.fits(named, shape, all) && axes.fits(named, shape, last) ? last : all;
  axes.bind(tensor.where, named, shape, local);
  return { posStart: key - local.token, ...local };
}

function checkHead(tensor: SourceTensor, tap: string, rule: MapRule, axes: AxisTable): void {
  const headDim = axes.get("head_dim");
  if ((rule.halves || rule.unscaled) && headDim === undefined) {
    throw new InputError(
      `${tensor.where}: ${tap} needs the size of a head, which no array tells; give the model with --model`,
    );
  }
  if (rule.halves && (headDim ?? 0) % 2 !== 0)
    throw new InputError(`${tensor.where}: its map says halves, but a head has ${headDim} elements, an odd number`);
}

/** The tap's shape. A merged axis of unknown factors takes its size from the array, whose axes are then the tap's own. */
function shapeOfBound(dims: string, tensor: SourceTensor, rule: MapRule, axes: AxisTable, rows: Rows): number[] {
  const sizes = { ...axes.sizes, token: rows.token, key: rows.key };
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

function contradiction(tensor: SourceTensor, plan: RecordPlan): InputError {
  return new InputError(
    `${tensor.where}: shape [${tensor.shape.join(", ")}] is not ${plan.tap}'s, [${plan.shape.join(", ")}] (${plan.dims})`,
  );
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
