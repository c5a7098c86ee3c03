/**
 * What a pass does beside its ops, as data: rows into the cache, rounding, statistics of rows. No graph has a node for these, but
 * each has a kernel of its own, whose first lines say what it computes.
 */

export type Bits = Uint32Array<ArrayBuffer>;

/** Rows of `columns` go to the slots from `posStart` on, of a cache of `slots`; the others stay as they are. */
export interface StoreChore {
  readonly kernel: "kv_store";
  readonly bits: Bits;
  readonly rows: number;
  readonly columns: number;
  readonly posStart: number;
  readonly slots: number;
}

/** Every element is rounded to the nearest half, in place. */
export interface RoundChore {
  readonly kernel: "round_half";
  readonly bits: Bits;
}

/** A record of `words` words for each of `rows` rows, by the entries of `table` from `first` on (4 words each, see the kernel). */
export interface StatisticsChore {
  readonly kernel: "row_statistics";
  readonly bits: Bits;
  readonly table: Bits;
  readonly first: number;
  readonly rows: number;
  readonly words: 16 | 32;
}

export type Chore = StoreChore | RoundChore | StatisticsChore;
export type ChoreKind = Chore["kernel"];
export type ChoreOf<K extends ChoreKind> = Extract<Chore, { kernel: K }>;
