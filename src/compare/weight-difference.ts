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
  voices: WeightVoices,
): WeightDifference {
  const { engine, independent, own } = voices;
  const { length } = engine;
  const size = type.elements;
  if (independent.length !== length || own.length !== length || length % columns !== 0 || columns % size !== 0) {
    const lengths = [engine, independent, own].map((voice) => voice.length).join(", ");
    throw new Error(`${name}: ${lengths} elements for rows of ${columns} in blocks of ${size}`);
  }
  const [a, b, c] = [bitsOf(engine), bitsOf(independent), bitsOf(own)];
  const alone = { engine: 0, independent: 0, own: 0, nobody: 0 };
  const tally = new Tally(length, columns, size);
  for (let i = 0; i < length; i++) {
    if (a[i] === b[i]) {
      if (a[i] !== c[i]) alone.own++;
      continue;
    }
    alone[a[i] === c[i] ? "independent" : b[i] === c[i] ? "engine" : "nobody"]++;
    tally.add(i, engine[i] as number, independent[i] as number);
  }
  const { elements, blocks, nonFinite, zeroSigns, places } = tally;
  return {
    ...{ name, type: type.name, block: size, elements, of: length, blocks, ofBlocks: length / size },
    first: tally.firstBlock(),
    ...{ rows: spreadOf(tally.rows), blocksOfRow: spreadOf(tally.blocksOfRow) },
    places: { ...spreadOf(places), name: elements === 0 ? null : placesName(places, type.name) },
    ...{ largest: elementOf(voices, tally.largestAt, columns), nonFinite, zeroSigns, alone },
  };
}

/** Counts and marks the elements that differ, which come in ascending order. */
class Tally {
  readonly rows: Uint8Array;
  readonly blocksOfRow: Uint8Array;
  readonly places: Uint8Array;
  elements = 0;
  blocks = 0;
  nonFinite = 0;
  zeroSigns = 0;
  /** -1 where none differs. */
  largestAt = -1;
  readonly #columns: number;
  readonly #size: number;
  #first = -1;
  #block = -1;
  #largest = -1;

  constructor(length: number, columns: number, size: number) {
    this.#columns = columns;
    this.#size = size;
    this.rows = new Uint8Array(length / columns);
    this.blocksOfRow = new Uint8Array(columns / size);
    this.places = new Uint8Array(size);
  }

  add(index: number, engine: number, independent: number): void {
    if (this.elements++ === 0) this.#first = index;
    const block = Math.floor(index / this.#size);
    if (block !== this.#block) this.blocks++;
    this.#block = block;
    const column = index % this.#columns;
    this.rows[(index - column) / this.#columns] = 1;
    this.blocksOfRow[Math.floor(column / this.#size)] = 1;
    this.places[column % this.#size] = 1;
    const finite = Number.isFinite(engine) && Number.isFinite(independent);
    if (!finite) this.nonFinite++;
    if (engine === independent) this.zeroSigns++;
    const away = finite ? Math.abs(engine - independent) : Number.POSITIVE_INFINITY;
    if (away > this.#largest) {
      this.#largest = away;
      this.largestAt = index;
    }
  }

  firstBlock(): WeightDifference["first"] {
    if (this.#first < 0) return null;
    const column = this.#first % this.#columns;
    const start = column - (column % this.#size);
    const row = (this.#first - column) / this.#columns;
    return { row, block: start / this.#size, columns: [start, start + this.#size - 1] };
  }
}

function elementOf({ engine, independent, own }: WeightVoices, index: number, columns: number): WeightElement | null {
  const [x, y, z] = [engine[index], independent[index], own[index]];
  if (x === undefined || y === undefined || z === undefined) return null;
  return { row: Math.floor(index / columns), column: index % columns, engine: x, independent: y, own: z };
}

/** Bits of values, every NaN the same. */
function bitsOf(values: Float32Array): Uint32Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (!values.some(Number.isNaN)) return bits;
  return bits.map((each, i) => (Number.isNaN(values[i]) ? 0x7fc00000 : each));
}
