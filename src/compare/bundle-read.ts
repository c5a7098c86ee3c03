/** Opens a repro bundle: every tensor checked against `bundle.json`, and a model of one op over the weights that it holds. */
import { join } from "node:path";
import { BLOCK_TYPES, decodeBlocks } from "../model/blocks.ts";
import type { TensorInfo, WeightFile } from "../model/gguf.ts";
import { axisSizes } from "../model/llama-parameters.ts";
import type { OpModel } from "../model/model.ts";
import type { Op } from "../model/ops.ts";
import { type Matrix, matrix } from "../oracle/ops.ts";
import { parseDims, rowsAndColumns, shapeOf } from "../trace/dims.ts";
import { InputError } from "../trace/errors.ts";
import { readText } from "../trace/files.ts";
import { readNpy } from "../trace/npy.ts";
import { firstIssue } from "../trace/schema-issue.ts";
import { layerOfTap } from "../trace/taps.ts";
import { BUNDLE_SCHEMA, type BundleFacts, bundleSchema } from "./bundle-schema.ts";
import { type Shape, shapeProblem } from "./bundle-shapes.ts";

export interface Bundle {
  readonly folder: string;
  readonly facts: BundleFacts;
  readonly op: Op;
  readonly inputs: readonly Matrix[];
  readonly held: readonly HeldWeight[];
  /** The weights that it holds, and a graph of this op alone. */
  readonly model: OpModel;
  /** Of the output. */
  readonly shape: readonly number[];
  readonly expected: Float64Array;
  readonly actual: Float32Array;
}

/** Rows of a weight, as GGUF has them. */
export interface HeldWeight {
  readonly tensor: TensorInfo;
  /** Which rows of the tensor these are, ascending; null for all. */
  readonly rows: readonly number[] | null;
  readonly bytes: Uint8Array;
}

const REMEDY = "the bundle is damaged, write it again";

/** Opens a bundle. Throws InputError, one line, where a part is missing or contradicts another. */
export function openBundle(folder: string): Bundle {
  const facts = readFacts(join(folder, "bundle.json"));
  const { op, tokens, posStart, parameters } = facts;
  const bad = (why: string) => new InputError(`${folder}: ${why}; ${REMEDY}`);
  const { rope, ...sizes } = parameters;
  const factors =
    rope.factors === null ? null : readNpy(join(folder, rope.factors), "f4", [rope.dimensions / 2], REMEDY);
  const whole = { ...sizes, rope: { ...rope, factors } };
  const axes = (rows: number, keys: number) => axisSizes(whole, rows, keys);
  const keys = posStart + tokens.length;
  const here = axes(tokens.length, keys);
  const shapeIn = (dims: string) => {
    const unknown = parseDims(dims).find((axis) => axis.some((name) => here[name] === undefined));
    if (unknown !== undefined || parseDims(dims).length === 0) throw bad(`dims "${dims}" have no size`);
    return shapeOf(dims, here);
  };
  const matrixShape = (dims: string): Shape => {
    const { rows, columns } = rowsAndColumns(shapeIn(dims));
    return [rows, columns];
  };
  const output = shapeIn(op.dims);
  const problem = shapeProblem(
    op,
    {
      inputs: facts.inputs.map(({ dims }) => matrixShape(dims)),
      weights: facts.weights.map(({ dims }) => matrixShape(dims)),
      output: matrixShape(op.dims),
    },
    { tokens: tokens.length, keys, vocab: sizes.vocab, heads: sizes.heads },
  );
  if (problem !== null) throw bad(problem);
  if (op.kind === "rope" && op.headDim !== rope.dimensions)
    throw bad(`a head of ${op.headDim}, ${rope.dimensions} turn`);
  if (op.weights.join() !== facts.weights.map(({ name }) => name).join()) throw bad("its weights are not the op's");

  const inputs = facts.inputs.map(({ dims, file }): Matrix => {
    const data = readNpy(join(folder, file), "f4", shapeIn(dims), REMEDY);
    return matrix(...matrixShape(dims), Float64Array.from(data));
  });
  const held = facts.weights.map((weight): HeldWeight => {
    const type = BLOCK_TYPES.find(({ name }) => name === weight.type);
    const [rows, columns] = matrixShape(weight.dims);
    if (type === undefined || columns % type.elements !== 0) throw bad(`rows of ${columns} in ${weight.type}`);
    const rowBytes = (columns / type.elements) * type.bytes;
    const shape = shapeIn(weight.dims);
    const tensor = { name: weight.name, shape, type, byteOffset: 0, rowBytes, rows, columns };
    const bytes = readNpy(join(folder, weight.file), "u1", [weight.rows?.length ?? rows, rowBytes], REMEDY);
    return { tensor, rows: weight.rows, bytes };
  });
  return {
    ...{ folder, facts, op, inputs, held, shape: output },
    model: {
      file: heldWeights(folder, held),
      parameters: whole,
      layers: [layerOfTap(op.tap) ?? 0],
      graph: [{ op, inputs: facts.inputs.map(({ tap, cached }) => ({ tap, cached })) }],
      axes,
    },
    expected: readNpy(join(folder, facts.expected), "f8", output, REMEDY),
    actual: readNpy(join(folder, facts.actual), "f4", output, REMEDY),
  };
}

function readFacts(path: string): BundleFacts {
  const text = readText(path, "give the folder of a bundle, which 'faultline audit --bundle' writes");
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new InputError(`${path}: ${text.length} characters that are not JSON; ${REMEDY}`);
  }
  const schema = (json as { schema?: unknown } | null)?.schema;
  if (schema !== BUNDLE_SCHEMA) {
    throw new InputError(
      `${path}: ${JSON.stringify(schema) ?? "no schema"}, this program reads ${BUNDLE_SCHEMA}; use the version that wrote it`,
    );
  }
  const parsed = bundleSchema.safeParse(json);
  if (!parsed.success) throw new InputError(`${path}: ${firstIssue(parsed.error, "bundle.json")}; ${REMEDY}`);
  return parsed.data;
}

/** The weights of a bundle, read as those of a model's file. Throws InputError for rows that it does not hold. */
function heldWeights(name: string, held: readonly HeldWeight[]): WeightFile {
  const byName = new Map(held.map((weight) => [weight.tensor.name, weight]));
  const weightOf = (wanted: string) => {
    const found = byName.get(wanted);
    if (found !== undefined) return found;
    throw new InputError(`${name}: holds no ${wanted}, only ${[...byName.keys()].join(", ") || "no weights"}`);
  };
  const readRows = ({ name: wanted, rowBytes, rows: all }: TensorInfo, first = 0, count = all) => {
    const { rows, bytes } = weightOf(wanted);
    // Rows asked for together are held together: all of a matrix, or one of a table.
    const at = rows === null ? first : rows.indexOf(first);
    if (at < 0 || (rows !== null && count !== 1) || (at + count) * rowBytes > bytes.length) {
      throw new InputError(`${name}: rows ${first} to ${first + count - 1} of ${wanted} are not in it; ${REMEDY}`);
    }
    return bytes.subarray(at * rowBytes, (at + count) * rowBytes);
  };
  return {
    name,
    tensor: (wanted) => weightOf(wanted).tensor,
    readRows,
    decodeRows: (tensor, first, count) => decodeBlocks(tensor.type, readRows(tensor, first, count)),
  };
}

/**
 * The bundle for an engine that loads weights whole: a table of which only some rows are held becomes a table of these rows, and
 * token ids become their numbers in it.
 */
export function compactTable({ folder, op, model, facts, held }: Bundle): {
  model: OpModel;
  tokens: readonly number[];
} {
  const [table] = held;
  const rows = table?.rows ?? null;
  if (op.kind !== "embed" || table === undefined || rows === null) return { model, tokens: facts.tokens };
  const { columns } = table.tensor;
  const tensor = { ...table.tensor, rows: rows.length, shape: [rows.length, columns] };
  return {
    model: { ...model, file: heldWeights(folder, [{ tensor, rows: null, bytes: table.bytes }]) },
    tokens: facts.tokens.map((id) => rows.indexOf(id)),
  };
}
