/**
 * Sizes that kernels are tried at: one row, one column, multiples of blocks (32), tiles (4 tokens, 16 rows) and workgroups (8, 64) and
 * one beside them, long rows, real models' sizes, positions to 100,000. A row is what differs from the sizes in BASE.
 */
import type { OpKind } from "../../model/ops.ts";

export interface KernelShape {
  readonly tokens: number;
  /** Position of the first token: keys before it come from the cache. */
  readonly posStart: number;
  /** Columns of what an op reads, and of what it gives where that is another number. */
  readonly columns: number;
  readonly outputs: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** True where a projection adds one. */
  readonly bias: boolean;
}

const BASE: KernelShape = {
  tokens: 5,
  posStart: 0,
  columns: 64,
  outputs: 48,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  bias: false,
};

type Row = Partial<KernelShape>;

const ROWS: readonly Row[] = [
  { tokens: 1, columns: 1 },
  { tokens: 1, columns: 2 },
  { tokens: 3, columns: 31 },
  { tokens: 4, columns: 32 },
  { tokens: 5, columns: 33 },
  { tokens: 9, columns: 257 },
  { tokens: 7, columns: 576 },
  { tokens: 2, columns: 2080 },
  { tokens: 1, columns: 4096 },
  { tokens: 2, columns: 4100 },
];
const HEADS: readonly Row[] = [
  { tokens: 1, heads: 1, kvHeads: 1, headDim: 2 },
  { tokens: 5, heads: 3, kvHeads: 1, headDim: 22 },
  { tokens: 4, heads: 4, kvHeads: 4, headDim: 34 },
  { tokens: 1, posStart: 37, heads: 4, kvHeads: 2, headDim: 32 },
  { tokens: 33, posStart: 31, heads: 2, kvHeads: 1, headDim: 16 },
  { tokens: 7, posStart: 6, heads: 9, kvHeads: 3, headDim: 64 },
  { tokens: 1, posStart: 300, heads: 4, kvHeads: 1, headDim: 128 },
];

export const SHAPES: Readonly<Record<OpKind, readonly Row[]>> = {
  embed: [
    { tokens: 1, columns: 2 },
    { tokens: 5, columns: 33 },
    { tokens: 7, columns: 576 },
    { tokens: 3, columns: 2048 },
  ],
  rms_norm: ROWS,
  add: ROWS,
  swiglu: ROWS.map(({ columns = 1, ...row }) => ({ ...row, columns, outputs: columns })),
  linear: [
    { tokens: 1, columns: 1, outputs: 1 },
    { tokens: 5, columns: 33, outputs: 17 },
    { tokens: 3, columns: 66, outputs: 37, bias: true },
    { tokens: 5, columns: 64, outputs: 64 },
    { tokens: 1, columns: 256, outputs: 256, bias: true },
    { tokens: 4, columns: 64, outputs: 16 },
    { tokens: 1, columns: 576, outputs: 192 },
    { tokens: 13, columns: 576, outputs: 49 },
    { tokens: 1, columns: 4100, outputs: 7 },
    { tokens: 2, columns: 2080, outputs: 33 },
    { tokens: 1, columns: 512, outputs: 1000 },
    { tokens: 3, columns: 768, outputs: 33 },
    { tokens: 5, columns: 2048, outputs: 17 },
  ],
  rope: [
    ...HEADS.slice(0, 3),
    { tokens: 1, posStart: 37, heads: 4, kvHeads: 4, headDim: 32 },
    { tokens: 7, posStart: 2041, heads: 9, kvHeads: 9, headDim: 64 },
    { tokens: 2, posStart: 99_998, heads: 2, kvHeads: 2, headDim: 64 },
  ],
  attn_scores: HEADS,
  causal_softmax: HEADS,
  attn_ctx: HEADS,
};

/** Rows of the shapes of a kind, whole. */
export const shapesOf = (kind: OpKind): KernelShape[] => SHAPES[kind].map((row) => ({ ...BASE, ...row }));
