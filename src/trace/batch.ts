/** Records -> one Arrow record batch. Buffers are laid out by hand: values are copied once, strings are encoded once. */
import {
  type Data,
  type DataType,
  Float32,
  makeData,
  RecordBatch,
  type Schema,
  Struct,
  Uint32,
  Utf8,
  type Vector,
} from "apache-arrow";
import type { TraceRecord } from "./record.ts";
import { COLUMNS, type ColumnName, type Columns, type DictionaryColumn } from "./schema.ts";

/** For each dictionary column its values as an Arrow vector, and the index of each. */
export type Dictionaries = Readonly<
  Record<DictionaryColumn, { readonly vector: Vector<Utf8>; readonly indexOf: ReadonlyMap<string, number> }>
>;

type Column = (records: readonly TraceRecord[], dictionaries: Dictionaries) => Data;

const uint32 =
  (of: (record: TraceRecord) => number): Column =>
  (records) =>
    makeData({ type: COLUMNS.seq, length: records.length, nullCount: 0, data: Uint32Array.from(records, of) });
const float32 =
  (of: (record: TraceRecord) => number): Column =>
  (records) =>
    makeData({ type: COLUMNS.min, length: records.length, nullCount: 0, data: Float32Array.from(records, of) });

const dictionary =
  (name: DictionaryColumn): Column =>
  (records, dictionaries) => {
    const { vector, indexOf } = dictionaries[name];
    const data = Int32Array.from(records, (record) => {
      const index = indexOf.get(record[name]);
      if (index === undefined) throw new Error(`${name} "${record[name]}" was not announced when the trace was opened`);
      return index;
    });
    return makeData({ type: COLUMNS[name], length: records.length, nullCount: 0, data, dictionary: vector });
  };

/** Bitmap of the records for which `present` holds, least significant bit first, and how many are missing. */
function validity(records: readonly TraceRecord[], present: (record: TraceRecord) => boolean) {
  const nullBitmap = new Uint8Array(Math.ceil(records.length / 8));
  let nullCount = 0;
  records.forEach((record, i) => {
    if (present(record)) nullBitmap[i >> 3] = (nullBitmap[i >> 3] ?? 0) | (1 << (i & 7));
    else nullCount++;
  });
  return { nullBitmap, nullCount };
}

const nullableNumber =
  (name: "layer" | "elapsed_us", of: (record: TraceRecord) => number | null): Column =>
  (records) => {
    const numbers = records.map((record) => of(record) ?? 0);
    const bitmap = validity(records, (record) => of(record) !== null);
    return name === "layer"
      ? makeData({ type: COLUMNS.layer, length: records.length, ...bitmap, data: Int32Array.from(numbers) })
      : makeData({ type: COLUMNS.elapsed_us, length: records.length, ...bitmap, data: Float64Array.from(numbers) });
  };

function offsetsOf(lengths: readonly number[]): Int32Array {
  const offsets = new Int32Array(lengths.length + 1);
  lengths.forEach((length, i) => {
    offsets[i + 1] = (offsets[i] ?? 0) + length;
  });
  return offsets;
}

const float32List =
  (name: "row_rms" | "sketch" | "values", of: (record: TraceRecord) => Float32Array | null): Column =>
  (records) => {
    const parts = records.map((record) => of(record) ?? new Float32Array(0));
    const valueOffsets = offsetsOf(parts.map((part) => part.length));
    const total = valueOffsets.at(-1) ?? 0;
    // A batch that holds one record is written from the record's own memory.
    const data = parts.length === 1 && parts[0] ? parts[0] : new Float32Array(total);
    if (parts.length !== 1) for (const [i, part] of parts.entries()) data.set(part, valueOffsets[i] ?? 0);
    const type = COLUMNS[name];
    const child = makeData({ type: new Float32(), length: total, nullCount: 0, data });
    const bitmap = name === "values" ? validity(records, (record) => of(record) !== null) : { nullCount: 0 };
    return makeData({ type, length: records.length, ...bitmap, valueOffsets, child });
  };

const uint32List =
  (of: (record: TraceRecord) => readonly number[]): Column =>
  (records) => {
    const data = Uint32Array.from(records.flatMap((record) => of(record)));
    const type = COLUMNS.shape;
    const child = makeData({ type: new Uint32(), length: data.length, nullCount: 0, data });
    const valueOffsets = offsetsOf(records.map((record) => of(record).length));
    return makeData({ type, length: records.length, nullCount: 0, valueOffsets, child });
  };

const utf8List =
  (name: "inputs" | "weights"): Column =>
  (records) => {
    const encoded = records.flatMap((record) => record[name]).map((text) => Buffer.from(text, "utf8"));
    const type = COLUMNS[name];
    const child = makeData({
      type: new Utf8(),
      length: encoded.length,
      nullCount: 0,
      valueOffsets: offsetsOf(encoded.map((bytes) => bytes.length)),
      data: new Uint8Array(Buffer.concat(encoded)),
    });
    const valueOffsets = offsetsOf(records.map((record) => record[name].length));
    return makeData({ type, length: records.length, nullCount: 0, valueOffsets, child });
  };

const BUILD: Readonly<Record<ColumnName, Column>> = {
  seq: uint32((record) => record.seq),
  step: uint32((record) => record.step),
  pos_start: uint32((record) => record.posStart),
  tap: dictionary("tap"),
  op: dictionary("op"),
  dtype: dictionary("dtype"),
  dims: dictionary("dims"),
  layer: nullableNumber("layer", (record) => record.layer),
  shape: uint32List((record) => record.shape),
  inputs: utf8List("inputs"),
  weights: utf8List("weights"),
  count: uint32((record) => record.statistics.count),
  nan_count: uint32((record) => record.statistics.nanCount),
  inf_count: uint32((record) => record.statistics.infCount),
  zero_count: uint32((record) => record.statistics.zeroCount),
  min: float32((record) => record.statistics.min),
  max: float32((record) => record.statistics.max),
  max_abs: float32((record) => record.statistics.maxAbs),
  max_abs_index: uint32((record) => record.statistics.maxAbsIndex),
  mean: (records) =>
    makeData({
      type: COLUMNS.mean,
      length: records.length,
      nullCount: 0,
      data: Float64Array.from(records, (r) => r.statistics.mean),
    }),
  rms: (records) =>
    makeData({
      type: COLUMNS.rms,
      length: records.length,
      nullCount: 0,
      data: Float64Array.from(records, (r) => r.statistics.rms),
    }),
  row_rms: float32List("row_rms", (record) => record.rowRms),
  sketch: float32List("sketch", (record) => record.sketch),
  hash: (records) =>
    makeData({
      type: COLUMNS.hash,
      length: records.length,
      nullCount: 0,
      data: BigUint64Array.from(records, (r) => r.hash),
    }),
  elapsed_us: nullableNumber("elapsed_us", (record) => record.elapsedUs),
  values: float32List("values", (record) => record.values),
};

/** One record batch of these records. All names must stand in the dictionaries. */
export function batchFromRecords(
  schema: Schema<Columns>,
  records: readonly TraceRecord[],
  dictionaries: Dictionaries,
): RecordBatch<Columns> {
  const children = schema.fields.map((field) => BUILD[field.name as ColumnName](records, dictionaries));
  const struct = new Struct<Columns>(schema.fields);
  return new RecordBatch<Columns>(
    schema,
    makeData({ type: struct, length: records.length, nullCount: 0, children: children as Data<DataType>[] }),
  );
}

/** Bytes that a record brings into a batch, near enough to decide when a batch is full. */
export function payloadBytes(record: TraceRecord): number {
  return 512 + 4 * (record.rowRms.length + record.sketch.length + (record.values?.length ?? 0));
}
