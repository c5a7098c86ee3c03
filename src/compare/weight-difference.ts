/** A decoded tensor that is not as an independent decoder has it: which blocks, which places in them, by how much, and who is alone. */
import type { BlockType } from "../model/blocks.ts";
import { placesName } from "./block-places.ts";
import { type Spread, spreadOf } from "./spread.ts";

/** The same tensor by three decoders, flat row-major: the kernel's, the independent one's, and our own on the CPU. */
export interface WeightVoices {
  readonly engine: Float32Array;
  readonly independent: Float32Array;
  readonly own: Float32Array;
}

export interface WeightElement {
  readonly row: number;
  readonly column: number;
  readonly engine: number;
  readonly independent: number;
  readonly own: number;
}

/** Elements differ if their bits do; NaN equals NaN, whatever its bits. */
export interface WeightDifference {
  readonly name: string;
  /** Q4_K, ... */
  readonly type: string;
  /** Elements of a block. */
  readonly block: number;
  /** Elements that differ between engine and independent; of `of`. */
  readonly elements: number;
  readonly of: number;
  /** Blocks with such elements; of `ofBlocks`. */
  readonly blocks: number;
  readonly ofBlocks: number;
  /** The first of these blocks: its row, its number in the row, its columns. Null where no element differs. */
  readonly first: {
    readonly row: number;
    readonly block: number;
    readonly columns: readonly [first: number, last: number];
  } | null;
  /** Where such elements are: in which rows, in which blocks of a row, at which places of a block (together, over all). */
  readonly rows: Spread;
  readonly blocksOfRow: Spread;
  readonly places: Spread & { readonly name: string | null };
  /** The largest |engine - independent|; an element that is NaN or Inf on one side only, or with other sign, comes before all. */
  readonly largest: WeightElement | null;
  /** Of the differing elements: not finite on one side or both. */
  readonly nonFinite: number;
  /** Of the differing elements: 0 on both sides, with another sign. */
  readonly zeroSigns: number;
  /** Elements by who differs from the other two; `own` is not among `elements`; `nobody`: all three differ. */
  readonly alone: {
    readonly engine: number;
    readonly independent: number;
    readonly own: number;
    readonly nobody: number;
  };
}

/** Compares the voices block by block. Throws where they are not of one length, of whole rows of whole blocks. */
export function weightDifference(
  name: string,
  type: BlockType,
  columns: number,
  { engine, independent, own }: WeightVoices,
): WeightDifference {
  const { length } = engine;
  if (
    independent.length !== length ||
    own.length !== length ||
    length % columns !== 0 ||
    columns % type.elements !== 0
  ) {
    const lengths = [engine, independent, own].map((voice) => voice.length).join(", ");
    throw new Error(`${name}: ${lengths} elements for rows of ${columns} in blocks of ${type.elements}`);
  }
  const [a, b, c] = [bitsOf(engine), bitsOf(independent), bitsOf(own)];
  const size = type.elements;
  const rowMarks = new Uint8Array(length / columns);
  const blockMarks = new Uint8Array(columns / size);
  const placeMarks = new Uint8Array(size);
  const alone = { engine: 0, independent: 0, own: 0, nobody: 0 };
  let [elements, blocks, nonFinite, zeroSigns] = [0, 0, 0, 0];
  let [first, lastBlock, largestAt, most] = [-1, -1, -1, -1];
  for (let i = 0; i < length; i++) {
    const same = a[i] === b[i];
    if (same && a[i] === c[i]) continue;
    if (same) {
      alone.own++;
      continue;
    }
    if (a[i] === c[i]) alone.independent++;
    else if (b[i] === c[i]) alone.engine++;
    else alone.nobody++;
    elements++;
    if (first < 0) first = i;
    const column = i % columns;
    const block = Math.floor(i / size);
    if (block !== lastBlock) blocks++;
    lastBlock = block;
    rowMarks[Math.floor(i / columns)] = 1;
    blockMarks[Math.floor(column / size)] = 1;
    placeMarks[column % size] = 1;
    const [x, y] = [engine[i] as number, independent[i] as number];
    const away = Math.abs(x - y);
    const finite = Number.isFinite(x) && Number.isFinite(y);
    if (!finite) nonFinite++;
    if (x === y) zeroSigns++;
    const weight = finite ? away : Number.POSITIVE_INFINITY;
    if (weight > most) [most, largestAt] = [weight, i];
  }
  const startOfFirst = (first % columns) - (first % size);
  return {
    ...{ name, type: type.name, block: size, elements, of: length, blocks, ofBlocks: length / size },
    first:
      first < 0
        ? null
        : {
            row: Math.floor(first / columns),
            block: startOfFirst / size,
            columns: [startOfFirst, startOfFirst + size - 1],
          },
    rows: spreadOf(rowMarks),
    blocksOfRow: spreadOf(blockMarks),
    places: { ...spreadOf(placeMarks), name: elements === 0 ? null : placesName(placeMarks, type.name) },
    largest:
      largestAt < 0
        ? null
        : {
            ...{ row: Math.floor(largestAt / columns), column: largestAt % columns },
            ...{ engine: engine[largestAt] as number, independent: independent[largestAt] as number },
            own: own[largestAt] as number,
          },
    ...{ nonFinite, zeroSigns, alone },
  };
}

/** Bits of values, every NaN the same. */
function bitsOf(values: Float32Array): Uint32Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (!values.some(Number.isNaN)) return bits;
  return bits.map((each, i) => (Number.isNaN(values[i]) ? 0x7fc00000 : each));
}
