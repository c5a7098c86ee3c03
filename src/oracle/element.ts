/** One element of an op's output in f64, with the numbers it is made of: what is said of an element that went wrong. */
import type { OpKind, OpOf } from "../model/ops.ts";
import type { OpCase } from "./op-case.ts";
import type { Matrix } from "./ops.ts";

/** A number that takes part, by name. */
export interface Operand {
  readonly name: string;
  readonly value: number;
}

/** An element of an input or of a weight that takes part and is not finite. */
export interface NotFiniteInput {
  readonly source: "input" | "weight";
  /** Number of the input in the op's inputs, or of the weight in its weights. */
  readonly which: number;
  /** Tap or weight. */
  readonly name: string;
  /** Row of the input as the op takes it: for cached inputs a position. */
  readonly row: number;
  readonly column: number;
  readonly value: number;
}

/** A sum of products a b, in f64, with what its range depends on. */
export interface SumFacts {
  readonly terms: number;
  readonly value: number;
  /** Sum of the positive terms, and of the negative: in some order of summing a partial sum comes to each. */
  readonly positive: number;
  readonly negative: number;
  /** The partial sum with the largest magnitude, terms taken in order. */
  readonly reach: number;
  /** The factors of the largest product. */
  readonly largest: { readonly a: number; readonly b: number };
  /** True where 0 meets Inf in a product. */
  readonly zeroTimesInf: boolean;
}

/** A softmax's row of scores, over the keys up to its token. */
export interface RowFacts {
  readonly keys: number;
  readonly largest: number;
  /** Scores of -Inf. */
  readonly hidden: number;
  /** Sum of exp(score - largest). */
  readonly sum: number;
}

export interface ElementFacts {
  /** What the op's formula gives. */
  readonly right: number;
  readonly operands: readonly Operand[];
  /** The sum that the element is, or (rms_norm) rests on. */
  readonly sum: SumFacts | null;
  readonly row: RowFacts | null;
  /** The first of each input and weight, NaN before Inf. A softmax's -Inf is a mask and not among them. */
  readonly notFinite: readonly NotFiniteInput[];
}

/** Products shown of a sum. */
const SHOWN = 3;

/** Hands out numbers and remembers which were not finite. */
class Reader {
  readonly #of: OpCase;
  readonly #found = new Map<string, NotFiniteInput>();

  constructor(of: OpCase) {
    this.#of = of;
  }

  get notFinite(): NotFiniteInput[] {
    return [...this.#found.values()];
  }

  matrix(which: number): Matrix {
    const found = this.#of.inputs[which];
    if (found === undefined) throw new Error(`${this.#of.node.op.tap}: input ${which} of ${this.#of.inputs.length}`);
    return found;
  }

  input(which: number, row: number, column: number): number {
    const { columns, data } = this.matrix(which);
    const value = data[row * columns + column] as number;
    const name = this.#of.node.inputs[which]?.tap ?? "";
    return this.#noted({ source: "input", which, name, row, column, value });
  }

  /** A row of a weight, as a function of the column. */
  weight(which: number, row: number): (column: number) => number {
    const name = this.#of.node.op.weights[which] ?? "";
    const { data } = this.#of.context.weight(name, [row]);
    return (column) => this.#noted({ source: "weight", which, name, row, column, value: data[column] ?? Number.NaN });
  }

  #noted(input: NotFiniteInput): number {
    const key = `${input.source} ${input.which}`;
    const known = this.#found.get(key);
    if (
      !Number.isFinite(input.value) &&
      (known === undefined || (Number.isNaN(input.value) && !Number.isNaN(known.value)))
    )
      this.#found.set(key, input);
    return input.value;
  }
}

/** The sum over i of a(i) b(i). */
function sumOf(terms: number, a: (i: number) => number, b: (i: number) => number) {
  const products = Array.from({ length: terms }, (_, i) => ({ i, a: a(i), b: b(i) }));
  let [value, positive, negative, reach, zeroTimesInf] = [0, 0, 0, 0, false];
  for (const { a, b } of products) {
    const product = a * b;
    value += product;
    if (product > 0) positive += product;
    else if (product < 0) negative += product;
    if (Math.abs(value) > Math.abs(reach)) reach = value;
    zeroTimesInf ||= Number.isNaN(product) && !Number.isNaN(a) && !Number.isNaN(b);
  }
  const size = (each: { a: number; b: number }) => Math.abs(each.a * each.b);
  const largest = products.sort((one, other) => size(other) - size(one)).slice(0, SHOWN);
  const { a: largestA, b: largestB } = largest[0] ?? { a: 0, b: 0 };
  const facts: SumFacts = {
    terms,
    value,
    positive,
    negative,
    reach,
    zeroTimesInf,
    largest: { a: largestA, b: largestB },
  };
  return { facts, largest };
}

/** A sum's operands: its largest products with their factors, then where it got to. */
function operandsOf(a: string, b: string, { facts, largest }: ReturnType<typeof sumOf>): Operand[] {
  const products = largest.flatMap((each) => [
    { name: `${a}[${each.i}]`, value: each.a },
    { name: `${b}[${each.i}]`, value: each.b },
  ]);
  return [
    ...products,
    { name: `sum of ${facts.terms} products`, value: facts.value },
    { name: "largest partial sum", value: facts.reach },
  ];
}

type Facts = Omit<ElementFacts, "notFinite">;
type Look<K extends OpKind> = (op: OpOf<K>, reader: Reader, of: OpCase, row: number, column: number) => Facts;

const LOOK: { readonly [K in OpKind]: Look<K> } = {
  embed: (_op, reader, { context }, row, column) => {
    const id = context.tokens[row] ?? 0;
    const right = reader.weight(0, id)(column);
    return {
      right,
      operands: [
        { name: "token id", value: id },
        { name: "table", value: right },
      ],
      sum: null,
      row: null,
    };
  },

  rms_norm: ({ eps }, reader, _of, row, column) => {
    const { columns } = reader.matrix(0);
    const at = (i: number) => reader.input(0, row, i);
    const { facts } = sumOf(columns, at, at);
    const x = reader.input(0, row, column);
    const gain = reader.weight(0, 0)(column);
    const meanSquare = facts.value / columns;
    const scale = 1 / Math.sqrt(meanSquare + eps);
    const operands = [
      { name: "x", value: x },
      { name: "mean square of the row", value: meanSquare },
      { name: "eps", value: eps },
      { name: "scale", value: scale },
      { name: "gain", value: gain },
    ];
    return { right: x * scale * gain, operands, sum: facts, row: null };
  },

  linear: (op, reader, _of, row, column) => {
    const w = reader.weight(0, column);
    const sum = sumOf(reader.matrix(0).columns, (i) => reader.input(0, row, i), w);
    const bias = op.weights.length > 1 ? reader.weight(1, 0)(column) : null;
    const operands = [...operandsOf("x", "w", sum), ...(bias === null ? [] : [{ name: "bias", value: bias }])];
    return { right: sum.facts.value + (bias ?? 0), operands, sum: sum.facts, row: null };
  },

  rope: ({ headDim }, reader, { context: { cos, sin } }, row, column) => {
    const pairs = headDim / 2;
    const even = column - (column % 2);
    const angle = row * pairs + ((even / 2) % pairs);
    const [c, s] = [cos[angle] as number, sin[angle] as number];
    const factors = column % 2 === 0 ? [c, -s] : [s, c];
    const { facts } = sumOf(
      2,
      (i) => reader.input(0, row, even + i),
      (i) => factors[i] as number,
    );
    const operands = [
      { name: "first of the pair", value: reader.input(0, row, even) },
      { name: "second of the pair", value: reader.input(0, row, even + 1) },
      { name: "cosine", value: c },
      { name: "sine", value: s },
    ];
    return { right: facts.value, operands, sum: facts, row: null };
  },

  attn_scores: ({ heads, kvHeads, headDim, scale }, reader, { context }, row, key) => {
    const tokens = context.tokens.length;
    const [head, token] = [Math.floor(row / tokens), row % tokens];
    if (key > context.posStart + token)
      return { right: 0, operands: [{ name: "masked", value: 1 }], sum: null, row: null };
    const kvHead = Math.floor(head / (heads / kvHeads));
    const sum = sumOf(
      headDim,
      (d) => reader.input(0, token, head * headDim + d),
      (d) => reader.input(1, key, kvHead * headDim + d),
    );
    const operands = [...operandsOf("q", "k", sum), { name: "scale", value: scale }];
    return { right: sum.facts.value * scale, operands, sum: sum.facts, row: null };
  },

  causal_softmax: (_op, reader, { context }, row, key) => {
    const keys = context.posStart + (row % context.tokens.length) + 1;
    const { columns, data } = reader.matrix(0);
    const scores = data.subarray(row * columns, row * columns + keys);
    // -Inf is how a score is masked: it is right here, and looked at by itself.
    for (let s = 0; s < keys; s++) if (scores[s] !== Number.NEGATIVE_INFINITY) reader.input(0, row, s);
    const largest = scores.reduce((top, score) => Math.max(top, score), Number.NEGATIVE_INFINITY);
    const sum = scores.reduce((total, score) => total + Math.exp(score - largest), 0);
    const hidden = scores.filter((score) => score === Number.NEGATIVE_INFINITY).length;
    const score = data[row * columns + key] as number;
    const operands = [
      { name: "score", value: score },
      { name: "largest score of the row", value: largest },
      { name: "keys", value: keys },
      { name: "scores of -Inf", value: hidden },
      { name: "scores of NaN", value: scores.filter(Number.isNaN).length },
      { name: "sum of exp(score - largest)", value: sum },
    ];
    const right = key < keys ? Math.exp(score - largest) / sum : 0;
    return { right, operands, sum: null, row: { keys, largest, hidden, sum } };
  },

  attn_ctx: ({ heads, kvHeads, headDim }, reader, { context }, token, column) => {
    const head = Math.floor(column / headDim);
    const from = Math.floor(head / (heads / kvHeads)) * headDim + (column % headDim);
    const sum = sumOf(
      context.posStart + token + 1,
      (s) => reader.input(0, head * context.tokens.length + token, s),
      (s) => reader.input(1, s, from),
    );
    return { right: sum.facts.value, operands: operandsOf("p", "v", sum), sum: sum.facts, row: null };
  },

  swiglu: (_op, reader, _of, row, column) => {
    const [gate, up] = [reader.input(0, row, column), reader.input(1, row, column)];
    const silu = gate / (1 + Math.exp(-gate));
    const operands = [
      { name: "gate", value: gate },
      { name: "up", value: up },
      { name: "silu(gate)", value: silu },
    ];
    return { right: silu * up, operands, sum: null, row: null };
  },

  add: (_op, reader, { node }, row, column) => {
    const terms = [reader.input(0, row, column), reader.input(1, row, column)];
    const { facts } = sumOf(
      2,
      (i) => terms[i] as number,
      () => 1,
    );
    const operands = terms.map((value, i) => ({ name: node.inputs[i]?.tap ?? "", value }));
    return { right: facts.value, operands, sum: facts, row: null };
  },
};

/** Element (`row`, `column`) of an op: `row` is flat over all axes but the last. */
export function elementFacts(of: OpCase, row: number, column: number): ElementFacts {
  const reader = new Reader(of);
  const { op } = of.node;
  const look = LOOK[op.kind] as Look<OpKind>;
  const facts = look(op, reader, of, row, column);
  return { ...facts, notFinite: reader.notFinite };
}
