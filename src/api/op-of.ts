/** What was given -> one op with its inputs and weights, as the oracle takes them. Every length is checked here. */

import { type HeldTensor, weightsOf } from "../compare/kernels/cases.ts";
import { BLOCK_TYPES } from "../model/blocks.ts";
import { axisSizes, type LlamaParameters } from "../model/llama-parameters.ts";
import type { OpModel } from "../model/model.ts";
import type { Op } from "../model/ops.ts";
import { type Matrix, matrix } from "../oracle/ops.ts";
import { InputError } from "../trace/errors.ts";
import type { Given, Kind, Numbers, Weight } from "./given.ts";

export interface GivenOp {
  readonly model: OpModel;
  readonly op: Op;
  readonly inputs: readonly Matrix[];
  readonly tokens: readonly number[];
  readonly posStart: number;
  /** Elements of the output. */
  readonly count: number;
}

interface Parts {
  readonly op: Op;
  readonly inputs?: readonly Matrix[];
  readonly held?: readonly HeldTensor[];
  /** How many, or which. */
  readonly tokens: number | readonly number[];
  readonly posStart?: number | undefined;
  readonly count: number;
  readonly parameters?: Partial<LlamaParameters>;
}

type Build<K extends Kind> = (given: Given[K]) => Parts;

const fail = (why: string): never => {
  throw new InputError(why);
};

/** A whole number of at least `least`. */
function whole(name: string, value: number, least = 1): number {
  return Number.isInteger(value) && value >= least
    ? value
    : fail(`${name} is ${value}; a whole number of at least ${least} is needed`);
}

/** Rows of `columns`. */
function rowsOf(name: string, values: Numbers, columns: number): Matrix {
  const rows = values.length / whole(`columns of ${name}`, columns);
  if (!Number.isInteger(rows) || rows === 0) {
    fail(`${name} has ${values.length} elements, which are no whole rows of ${columns}`);
  }
  return matrix(rows, columns, Float64Array.from(Float32Array.from(values)));
}

/** A matrix of exactly this shape. */
function shaped(name: string, values: Numbers, rows: number, columns: number): Matrix {
  if (values.length !== rows * columns) {
    fail(`${name} has ${values.length} elements; ${rows} x ${columns} are ${rows * columns}`);
  }
  return rowsOf(name, values, columns);
}

const TYPES = new Map(BLOCK_TYPES.map((type) => [type.name, type]));

/** A weight as a file would hold it. `isVector`: a gain or a bias. */
function held(name: string, weight: Weight, isVector = false): HeldTensor {
  const [rows, columns] = [whole(`rows of ${name}`, weight.rows), whole(`columns of ${name}`, weight.columns)];
  const typeName = "values" in weight ? "F32" : weight.type;
  const type =
    TYPES.get(typeName) ?? fail(`${name}: no block type "${typeName}"; there are ${[...TYPES.keys()].join(", ")}`);
  const rowBytes = (columns / type.elements) * type.bytes;
  const bytes =
    "values" in weight ? new Uint8Array(Float32Array.from(weight.values).buffer) : Uint8Array.from(weight.blocks);
  if (!Number.isInteger(rowBytes) || bytes.length !== rows * rowBytes) {
    fail(`${name}: ${bytes.length} bytes are not ${rows} x ${columns} in ${typeName} (${rows * rowBytes} bytes)`);
  }
  const shape = isVector ? [columns] : [rows, columns];
  return { tensor: { name, shape, type, byteOffset: 0, rowBytes, rows, columns }, bytes };
}

const vector = (name: string, values: Numbers) => held(name, { rows: 1, columns: values.length, values }, true);

/** Two tensors of one shape. */
function pair(names: readonly [string, string], a: Numbers, b: Numbers, columns = a.length): readonly Matrix[] {
  const first = rowsOf(names[0], a, columns);
  return [first, shaped(names[1], b, first.rows, columns)];
}

function attention({ heads, kvHeads, headDim, posStart = 0 }: Omit<Given["attn_ctx"], "probabilities" | "values">) {
  for (const [name, value] of Object.entries({ heads, kvHeads, headDim })) whole(name, value);
  whole("posStart", posStart, 0);
  if (heads % kvHeads !== 0)
    fail(`${heads} heads over ${kvHeads} KV heads; each KV head serves a whole number of heads`);
  return { heads, kvHeads, headDim, posStart, parameters: { heads, kvHeads, headDim } };
}

function keysOf(name: string, rows: number, posStart: number): number {
  if (rows <= posStart)
    fail(`${name} has ${rows} rows, the first token stands at ${posStart}; keys reach up to the last token`);
  return rows - posStart;
}

const common = { tap: "given", dims: "", weights: [] } as const;

const BUILD: { readonly [K in Kind]: Build<K> } = {
  embed: ({ table, ids }) => {
    const { length } = ids;
    whole("the number of ids", length);
    for (const id of ids) if (whole("an id", id, 0) >= table.rows) fail(`id ${id} of a table of ${table.rows} rows`);
    const op: Op = { ...common, kind: "embed", weights: ["table"] };
    return { op, held: [held("table", table)], tokens: ids, count: length * table.columns };
  },

  rms_norm: ({ x, gain, eps }) => {
    if (!(eps >= 0 && Number.isFinite(eps))) fail(`eps is ${eps}; a number of at least 0 is needed`);
    const input = rowsOf("x", x, gain.length);
    const op: Op = { ...common, kind: "rms_norm", weights: ["gain"], eps };
    return { op, inputs: [input], held: [vector("gain", gain)], tokens: input.rows, count: x.length };
  },

  linear: ({ x, weight, bias }) => {
    const input = rowsOf("x", x, weight.columns);
    if (bias !== undefined && bias.length !== weight.rows) {
      fail(`bias has ${bias.length} elements; weight has ${weight.rows} rows`);
    }
    const op: Op = { ...common, kind: "linear", weights: bias === undefined ? ["weight"] : ["weight", "bias"] };
    const weights = [held("weight", weight), ...(bias === undefined ? [] : [vector("bias", bias)])];
    return { op, inputs: [input], held: weights, tokens: input.rows, count: input.rows * weight.rows };
  },

  rope: ({ x, heads, headDim, posStart = 0, base = 10000, scaling = { type: "none" }, factors = null }) => {
    whole("posStart", posStart, 0);
    if (whole("headDim", headDim, 2) % 2 !== 0) fail(`headDim is ${headDim}; pairs are turned, so it is even`);
    if (!(base > 0)) fail(`base is ${base}; a number above 0 is needed`);
    if (factors !== null && factors.length !== headDim / 2)
      fail(`factors has ${factors.length} elements; ${headDim / 2} pairs are turned`);
    const input = rowsOf("x", x, whole("heads", heads) * headDim);
    const rope = { base, dimensions: headDim, scaling, factors };
    const op: Op = { ...common, kind: "rope", headDim };
    return { op, inputs: [input], tokens: input.rows, posStart, count: x.length, parameters: { heads, headDim, rope } };
  },

  attn_scores: ({ q, k, scale, ...rest }) => {
    const { heads, kvHeads, headDim, posStart, parameters } = attention(rest);
    const keys = rowsOf("k", k, kvHeads * headDim);
    const tokens = keysOf("k", keys.rows, posStart);
    const queries = shaped("q", q, tokens, heads * headDim);
    const op: Op = { ...common, kind: "attn_scores", heads, kvHeads, headDim, scale: scale ?? 1 / Math.sqrt(headDim) };
    return { op, inputs: [queries, keys], tokens, posStart, parameters, count: heads * tokens * keys.rows };
  },

  causal_softmax: ({ scores, heads, tokens, posStart = 0 }) => {
    const keys = whole("posStart", posStart, 0) + whole("tokens", tokens);
    const input = shaped("scores", scores, whole("heads", heads) * tokens, keys);
    const op: Op = { ...common, kind: "causal_softmax" };
    return { op, inputs: [input], tokens, posStart, parameters: { heads }, count: scores.length };
  },

  attn_ctx: ({ probabilities, values, ...rest }) => {
    const { heads, kvHeads, headDim, posStart, parameters } = attention(rest);
    const kept = rowsOf("values", values, kvHeads * headDim);
    const tokens = keysOf("values", kept.rows, posStart);
    const input = shaped("probabilities", probabilities, heads * tokens, kept.rows);
    const op: Op = { ...common, kind: "attn_ctx", heads, kvHeads, headDim };
    return { op, inputs: [input, kept], tokens, posStart, parameters, count: tokens * heads * headDim };
  },

  swiglu: ({ gate, up, columns }) => {
    const inputs = pair(["gate", "up"], gate, up, columns);
    return { op: { ...common, kind: "swiglu" }, inputs, tokens: inputs[0]?.rows ?? 0, count: gate.length };
  },

  add: ({ a, b, columns }) => {
    const inputs = pair(["a", "b"], a, b, columns);
    return { op: { ...common, kind: "add" }, inputs, tokens: inputs[0]?.rows ?? 0, count: a.length };
  },
};

/** What each kind cannot do without. */
const REQUIRED: { readonly [K in Kind]: readonly (keyof Given[K] & string)[] } = {
  ...{ embed: ["table", "ids"], rms_norm: ["x", "gain", "eps"], linear: ["x", "weight"] },
  ...{ rope: ["x", "heads", "headDim"], attn_scores: ["q", "k", "heads", "kvHeads", "headDim"] },
  ...{ causal_softmax: ["scores", "heads", "tokens"], swiglu: ["gate", "up"], add: ["a", "b"] },
  attn_ctx: ["probabilities", "values", "heads", "kvHeads", "headDim"],
};

/** What an op does not read of its model. */
const NONE: LlamaParameters = {
  ...{ layers: 1, embd: 1, heads: 1, kvHeads: 1, headDim: 1, ffn: 1, vocab: 1, context: 1, eps: 0 },
  rope: { base: 10000, dimensions: 2, scaling: { type: "none" }, factors: null },
};

/** The op that was given. Throws InputError, with the kind, where lengths do not go together. */
export function opOf<K extends Kind>(kind: K, given: Given[K]): GivenOp {
  const build: Build<K> | undefined = Object.hasOwn(BUILD, kind) ? BUILD[kind] : undefined;
  if (build === undefined) throw new InputError(`no op "${String(kind)}"; there are ${Object.keys(BUILD).join(", ")}`);
  const missing = REQUIRED[kind].filter((name) => given?.[name] == null);
  if (missing.length > 0) throw new InputError(`${kind}: ${missing.join(", ")} not given`);
  try {
    const { op, inputs = [], held: weights = [], tokens, posStart = 0, count, parameters = {} } = build(given);
    const all = { ...NONE, ...parameters };
    return {
      ...{ op, inputs, posStart, count },
      tokens: typeof tokens === "number" ? new Array<number>(tokens).fill(0) : tokens,
      model: {
        ...{ file: weightsOf(weights), parameters: all, layers: [0] },
        axes: (rows, keys) => axisSizes(all, rows, keys),
        graph: [{ op, inputs: inputs.map((_, i) => ({ tap: `input ${i}`, cached: false })) }],
      },
    };
  } catch (error) {
    throw error instanceof InputError ? new InputError(`${kind}: ${error.message}`) : error;
  }
}
