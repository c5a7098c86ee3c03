/** Cases of the kernels that are no op's: storing to the cache, rounding to half, statistics of rows. Nothing runs here. */

import type { Bits, Chore, ChoreKind } from "../../model/chores.ts";
import { halfToFloat } from "../../model/half.ts";
import { DATA, DATA_NAMES, type DataName } from "./data.ts";
import { uniform } from "./random.ts";

/** `edges`: bit patterns at the ends of formats, mixed; `halves`: every half, what lies between each two, and one step beside it. */
export type ChoreData = DataName | "edges" | "halves";

export interface ChoreCase {
  /** `kv_store 5x33@6/13 normal f32`: the same in every run, what a baseline goes by. */
  readonly id: string;
  readonly kind: ChoreKind;
  readonly shape: string;
  readonly type: null;
  readonly data: ChoreData;
  /** Words of 32 bits. */
  readonly dtype: "f32";
  readonly chore: Chore;
}

const bitsOf = (values: Float32Array<ArrayBuffer>): Bits => new Uint32Array(values.buffer);

/** Bits of f32: zeros, subnormals, the ends of halves and of f32 with their neighbours, ties, infinities, NaNs quiet and signalling. */
const EDGES = [
  ...[0x00000000, 0x00000001, 0x00400000, 0x007fffff, 0x00800000, 0x3f800000, 0x7f7fffff, 0x7f800000],
  ...[0x7f800001, 0x7fc00000, 0x7fc01234, 0x7fffffff, 0x477fe000, 0x477fefff, 0x477ff000, 0x477ff001, 0x47800000],
  ...[0x38800000, 0x387fffff, 0x387fe000, 0x387ff000, 0x33800000, 0x337fffff, 0x33800001, 0x33000000, 0x32ffffff],
  ...[0x33000001, 0x33c00000, 0x34200000, 0x3f801000, 0x3f803000, 0x58800000, 0x59800000, 0x26800000, 0x25800000],
];

function edges(count: number, seed: number): Bits {
  const random = uniform(seed);
  const pick = () => ((EDGES[Math.floor(random() * EDGES.length)] ?? 0) | (random() < 0.5 ? 0x80000000 : 0)) >>> 0;
  return Uint32Array.from({ length: count }, pick);
}

/** Finite halves of one sign. */
const HALVES = 0x7c00;

/** Every finite half of both signs, the tie between it and the next further from 0, and the f32 beside that tie on each side. */
function halves(): Bits {
  const out = new Uint32Array(8 * HALVES);
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  for (let half = 0; half < HALVES; half++) {
    // Beyond the last half the next would be 65536.
    const next = half + 1 < HALVES ? halfToFloat(half + 1) : 65536;
    float[0] = halfToFloat(half);
    const own = bits[0] as number;
    float[0] = (halfToFloat(half) + next) / 2;
    const tie = bits[0] as number;
    const four = [own, tie - 1, tie, tie + 1];
    out.set([...four, ...four.map((each) => (each | 0x80000000) >>> 0)], 8 * half);
  }
  return out;
}

function make(data: ChoreData, count: number, seed: number): Bits {
  if (data === "halves") return halves();
  return data === "edges" ? edges(count, seed) : bitsOf(DATA[data](count, seed));
}

interface Shape {
  readonly name: string;
  readonly elements: number;
  readonly data: readonly ChoreData[];
  readonly chore: (bits: Bits) => Chore;
}

const ALL: readonly ChoreData[] = [...DATA_NAMES, "edges"];

/** Rows, columns, position of the first, slots of the cache. */
const STORES = [
  ...[[1, 1, 0, 1] as const, [1, 2, 2, 3] as const, [3, 31, 2, 7] as const, [4, 32, 0, 4] as const],
  ...[[5, 33, 6, 13] as const, [1, 192, 37, 64] as const, [33, 64, 31, 65] as const, [7, 192, 2041, 2050] as const],
  ...[[2, 576, 0, 2] as const, [1, 4100, 5, 7] as const],
];
/** More than 65,535 workgroups of 8. */
const MANY = 524_291;
const ROUNDED = [1, 7, 8, 9, 255, 257, 4100];
const TABLES = [
  ...[[1, 1] as const, [3, 31] as const, [5, 33] as const, [4, 64] as const, [7, 65] as const, [2, 576] as const],
  ...[[9, 257] as const, [1, 4100] as const, [3, 2080] as const],
];
/** More rows than a dimension of workgroups has. */
const MANY_ROWS = 65_537;

/** Of a row in the table: its first element in x, columns, flat index of its first element in the tensor, number of its record. */
const ROW_WORDS = 4;
/** Rows of the table before those that are asked for, elements of the tensor before the first row, elements between rows. */
const [BEFORE, BASE, GAP] = [2, 5, 3];
/** What stands between rows: a NaN that no row has. */
const BETWEEN = 0x7fc0abcd;

const SHAPES: Readonly<Record<ChoreKind, readonly Shape[]>> = {
  kv_store: STORES.map(([rows, columns, posStart, slots]) => ({
    ...{ name: `${rows}x${columns}@${posStart}/${slots}`, elements: rows * columns, data: ALL },
    chore: (bits) => ({ kernel: "kv_store", bits, rows, columns, posStart, slots }),
  })),
  round_half: [
    ...ROUNDED.map((elements) => rounded(elements, ALL)),
    rounded(8 * HALVES, ["halves"]),
    rounded(MANY, ["normal"]),
  ],
  row_statistics: ([16, 32] as const).flatMap((words) => [
    ...TABLES.map(([rows, columns]) => table(rows, columns, words, ALL)),
    ...(words === 16 ? [table(MANY_ROWS, 1, words, ["normal"])] : []),
  ]),
};
export const CHORE_KINDS = Object.keys(SHAPES) as ChoreKind[];

function rounded(elements: number, data: readonly ChoreData[]): Shape {
  return { name: String(elements), elements, data, chore: (bits) => ({ kernel: "round_half", bits }) };
}

/** Rows that lie apart, in a table that begins earlier; records are written last row first. */
function table(rows: number, columns: number, words: 16 | 32, data: readonly ChoreData[]): Shape {
  const stride = columns + GAP;
  return {
    ...{ name: `${rows}x${columns}/${words === 16 ? "stats" : "sketch"}`, elements: rows * columns, data },
    chore: (values) => {
      const bits = new Uint32Array(rows * stride + GAP).fill(BETWEEN);
      const entries = new Uint32Array((BEFORE + rows) * ROW_WORDS);
      for (let row = 0; row < BEFORE; row++) entries.set([0, 1, 0, rows - 1], row * ROW_WORDS);
      for (let row = 0; row < rows; row++) {
        const offset = GAP + row * stride;
        bits.set(values.subarray(row * columns, (row + 1) * columns), offset);
        entries.set([offset, columns, BASE + row * columns, rows - 1 - row], (BEFORE + row) * ROW_WORDS);
      }
      return { kernel: "row_statistics", bits, table: entries, first: BEFORE, rows, words };
    },
  };
}

/** Every case, in a fixed order. */
export function* choreCases(wants: (id: string) => boolean = () => true): Generator<ChoreCase> {
  for (const kind of CHORE_KINDS) {
    for (const { name, elements, data: all, chore } of SHAPES[kind]) {
      for (const data of all) {
        const id = `${kind} ${name} ${data} f32`;
        if (!wants(id)) continue;
        const bits = make(data, elements, seedOf(id));
        yield { id, kind, shape: name, type: null, data, dtype: "f32", chore: chore(bits) };
      }
    }
  }
}

/** A case's inputs follow from its name. */
export const seedOf = (id: string): number =>
  [...id].reduce((hash, character) => (Math.imul(hash, 31) + (character.codePointAt(0) ?? 0)) >>> 0, 7);
