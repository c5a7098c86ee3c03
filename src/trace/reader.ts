/**
 * Reads a trace, whole or partial. Facts and statistics of every record are kept in an index; sketches and values are read
 * from the file when asked for, one batch at a time, so memory does not grow with the file.
 */
import { createReadStream, readSync } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import {
  type AsyncRecordBatchFileReader,
  type Data,
  type Float32,
  type RecordBatch,
  RecordBatchReader,
  type Schema,
  type Vector,
} from "apache-arrow";
import { TraceError } from "./errors.ts";
import { endsWithValues, headsOf } from "./heads.ts";
import { FORMAT_VERSION, type Manifest, manifestSchema, type TraceRecord } from "./record.ts";
import { COLUMNS, type ColumnName, type Columns, MANIFEST_KEY, VERSION_KEY } from "./schema.ts";
import { firstIssue } from "./schema-issue.ts";

/** A record without its sketch and values. */
export type RecordSummary = Omit<TraceRecord, "sketch" | "values"> & {
  readonly hasSketch: boolean;
  readonly hasValues: boolean;
};

const MAGIC = "ARROW1";

export class Trace {
  readonly path: string;
  readonly manifest: Manifest;
  /** True if the file was never finished: it ends with its last whole batch. */
  readonly partial: boolean;
  readonly records: readonly RecordSummary[];
  readonly #places: readonly RecordPlace[];
  readonly #batch: (index: number) => Promise<RecordBatch<Columns>>;
  readonly #handle: FileHandle;

  private constructor(path: string, handle: FileHandle, content: Content) {
    this.path = path;
    this.#handle = handle;
    this.manifest = content.manifest;
    this.partial = content.partial;
    this.records = content.records;
    this.#places = content.places;
    this.#batch = content.batch;
  }

  /** Opens a trace file. Throws TraceError where it is not one, or is of another version, or holds no record. */
  static async open(path: string): Promise<Trace> {
    let handle: FileHandle | undefined;
    try {
      // Opening a pipe would wait for its writer.
      if ((await stat(path)).isFile()) handle = await open(path, "r");
    } catch {
      throw new TraceError(
        `${path}: no such file, or not readable; make a trace with: faultline trace MODEL -p TEXT -o trace.arrow`,
      );
    }
    if (handle === undefined) throw new TraceError(`${path}: not a file; give the path of a trace`);
    try {
      return new Trace(path, handle, await readContent(path, handle));
    } catch (error) {
      await handle.close();
      if (error instanceof TraceError) throw error;
      // Arrow trusts the lengths and offsets in a file; damaged ones surface as any error.
      const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
      throw new TraceError(`${path}: damaged (${why}); make the trace again`, { cause: error });
    }
  }

  /** The record at an index of `records`, with its sketch and values. */
  async load(index: number): Promise<TraceRecord> {
    const { summary, place } = this.#at(index);
    const { hasSketch, hasValues, ...facts } = summary;
    const batch = hasSketch || place.valuesAt === null ? await this.#batch(place.batch) : null;
    return {
      ...facts,
      sketch: (batch === null ? null : numbers(batch, "sketch", place.row)) ?? new Float32Array(0),
      values: hasValues ? await this.values(index) : null,
    };
  }

  /**
   * The values of a record that has them. `scratch` may be given to take them in, where it is large enough: reading gigabytes into
   * fresh memory costs more than reading them.
   */
  async values(index: number, scratch?: Float32Array): Promise<Float32Array> {
    const { summary, place } = this.#at(index);
    const { count } = summary.statistics;
    if (place.valuesAt === null) {
      const values = numbers(await this.#batch(place.batch), "values", place.row);
      if (values === null) throw new Error(`record ${index} has no values`);
      return values;
    }
    const values =
      scratch !== undefined && scratch.length >= count ? scratch.subarray(0, count) : new Float32Array(count);
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    if (readSync(this.#handle.fd, bytes, 0, bytes.length, place.valuesAt) < bytes.length) {
      throw new TraceError(`${this.path}: ends within the values of ${summary.tap}; make the trace again`);
    }
    return values;
  }

  #at(index: number): { summary: RecordSummary; place: RecordPlace } {
    const [summary, place] = [this.records[index], this.#places[index]];
    if (summary === undefined || place === undefined) throw new Error(`record ${index} of ${this.records.length}`);
    return { summary, place };
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** Where a record stands: its batch and row, and where in the file its values begin, if they can be read by themselves. */
interface RecordPlace {
  readonly batch: number;
  readonly row: number;
  readonly valuesAt: number | null;
}

interface Content {
  readonly manifest: Manifest;
  readonly partial: boolean;
  readonly records: RecordSummary[];
  readonly places: RecordPlace[];
  readonly batch: (index: number) => Promise<RecordBatch<Columns>>;
}

async function readContent(path: string, handle: FileHandle): Promise<Content> {
  const { size } = await handle.stat();
  const ends = Buffer.alloc(12);
  await handle.read(ends, 0, 6, 0);
  if (size >= 12) await handle.read(ends, 6, 6, size - 6);
  if (ends.toString("latin1", 0, 6) !== MAGIC) {
    throw new TraceError(
      `${path}: not a trace (an Arrow file starts with ${MAGIC}); traces are made by faultline trace`,
    );
  }
  const partial = ends.toString("latin1", 6, 12) !== MAGIC;
  return partial ? readPartial(path, size) : readWhole(path, handle);
}

async function readWhole(path: string, handle: FileHandle): Promise<Content> {
  const heads = headsOf(handle);
  const reader = (await RecordBatchReader.from(heads.handle)) as unknown as AsyncRecordBatchFileReader<Columns>;
  try {
    await reader.open({ autoDestroy: false });
  } catch (error) {
    throw new TraceError(`${path}: not a readable Arrow file (${(error as Error).message}); make the trace again`);
  }
  const manifest = manifestFrom(path, reader.schema);
  if (endsWithValues(reader.schema)) heads.leaveOutValues();
  const batch = lastKept(async (index) => {
    const read = await reader.readRecordBatch(index);
    if (read === null || !isWhole(read.data))
      throw new TraceError(`${path}: batch ${index} cannot be read; make the trace again`);
    return read;
  });
  const content: Content = { manifest, partial: false, records: [], places: [], batch };
  for (let index = 0; index < reader.numRecordBatches; index++) {
    try {
      indexBatch(content, await batch(index), index, heads.valuesAt);
    } catch (error) {
      const why = (error as Error).message;
      throw new TraceError(
        `${path}: batch ${index} of ${reader.numRecordBatches} is damaged (${why}); make the trace again`,
      );
    }
  }
  if (content.records.length === 0) throw new TraceError(`${path}: holds no record; make the trace again`);
  return content;
}

/** A file without its end is Arrow's stream format after the first eight bytes: read on until it breaks off. */
async function readPartial(path: string, size: number): Promise<Content> {
  let manifest: Manifest | undefined;
  const found: Content["records"] = [];
  const places: Content["places"] = [];
  try {
    for await (const { schema, batch, index } of partialBatches(path)) {
      manifest ??= manifestFrom(path, schema);
      indexBatch({ records: found, places }, batch, index);
    }
  } catch (error) {
    if (error instanceof TraceError) throw error; // else: the place where it broke off
  }
  if (manifest === undefined || found.length === 0) {
    throw new TraceError(`${path}: broke off before its first batch (${size} bytes); make the trace again`);
  }
  // No footer says where batches are, so one is found by reading up to it.
  const batch = lastKept(async (wanted) => {
    for await (const { batch: each, index } of partialBatches(path)) if (index === wanted) return each;
    throw new TraceError(`${path}: batch ${wanted} is no longer there; the file changed while it was read`);
  });
  return { manifest, partial: true, records: found, places, batch };
}

/** Reads batches by number and keeps the last: records that follow one another share one. */
function lastKept(read: (index: number) => Promise<RecordBatch<Columns>>) {
  let kept: { index: number; batch: RecordBatch<Columns> } | undefined;
  return async (index: number) => {
    if (kept?.index !== index) kept = { index, batch: await read(index) };
    return kept.batch;
  };
}

/** The whole batches of a partial file, in order, one in memory at a time. */
async function* partialBatches(path: string) {
  const stream = createReadStream(path, { start: 8, highWaterMark: 1 << 20 });
  try {
    const reader = (await RecordBatchReader.from(stream)) as RecordBatchReader<Columns>;
    await reader.open();
    let index = 0;
    for await (const batch of reader) {
      if (!isWhole(batch.data)) return;
      yield { schema: reader.schema, batch, index: index++ };
    }
  } finally {
    stream.destroy();
  }
}

/**
 * Arrow believes lengths and offsets: it hands out a batch whose body is cut short, and would go through two thousand million
 * rows that a damaged one claims. Whole is a column whose buffers hold what its length and offsets say.
 */
function isWhole({ length, valueOffsets: offsets, values, children, dictionary }: Data): boolean {
  if (!children.every(isWhole) || !(dictionary?.data.every(isWhole) ?? true)) return false;
  if (!offsets)
    return children.length > 0 ? children.every((child) => child.length >= length) : values.length >= length;
  const held = children[0]?.length ?? values.length;
  if (offsets.length <= length || offsets[0] < 0 || offsets[length] > held) return false;
  for (let row = 0; row < length; row++) if (offsets[row] > offsets[row + 1]) return false;
  return true;
}

function manifestFrom(path: string, { metadata, fields }: Schema): Manifest {
  const columns = fields.map((field) => field.name);
  const version = metadata.get(VERSION_KEY);
  if (version === undefined)
    throw new TraceError(`${path}: an Arrow file, but not a trace (no ${VERSION_KEY} in its metadata)`);
  if (version !== FORMAT_VERSION) {
    throw new TraceError(
      `${path}: format version ${version}, this program reads ${FORMAT_VERSION}; make the trace again`,
    );
  }
  const missing = Object.keys(COLUMNS).filter((name) => !columns.includes(name));
  if (missing.length > 0) throw new TraceError(`${path}: lacks the column ${missing[0]}; see docs/trace-format.md`);
  let json: unknown;
  try {
    json = JSON.parse(metadata.get(MANIFEST_KEY) ?? "");
  } catch {
    throw new TraceError(`${path}: ${MANIFEST_KEY} is not JSON; see docs/trace-format.md`);
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) {
    throw new TraceError(`${path}: manifest ${firstIssue(parsed.error, "itself")}; see docs/trace-format.md`);
  }
  return parsed.data;
}

function numbers(batch: RecordBatch<Columns>, name: "sketch" | "values", row: number): Float32Array | null {
  return arrayOf(batch.getChild(name)?.get(row));
}

function arrayOf(list: Vector<Float32> | null | undefined): Float32Array | null {
  return list ? (list.toArray() as Float32Array) : null;
}

/** `valuesAt`: where in the file the batch's values begin, one record's after the other's. */
function indexBatch(
  content: Pick<Content, "records" | "places">,
  batch: RecordBatch<Columns>,
  index: number,
  valuesAt: number | null = null,
): void {
  const starts = batch.getChild("values")?.data[0]?.valueOffsets;
  const columns = new Map(batch.schema.names.map((name) => [name, batch.getChild(name)]));
  const get = <T>(name: ColumnName, row: number) => columns.get(name)?.get(row) as T;
  for (let row = 0; row < batch.numRows; row++) {
    const number = (name: ColumnName) => get<number>(name, row);
    const text = (name: ColumnName) => get<string>(name, row);
    const list = (name: "row_rms" | "sketch" | "values") => get<Vector<Float32> | null>(name, row);
    const rowRms = arrayOf(list("row_rms"));
    const start = valuesAt === null ? undefined : starts?.[row];
    const hasValues = list("values") !== null;
    const [held, count] = [Number(starts?.[row + 1]) - Number(starts?.[row]), number("count")];
    // Values are read by count: a row that holds another number of them would be read into its neighbour's.
    if (hasValues && held !== count) {
      throw new TraceError(`${text("tap")} of step ${number("step")} holds ${held} values, its count says ${count}`);
    }
    content.places.push({ batch: index, row, valuesAt: start === undefined ? null : (valuesAt ?? 0) + 4 * start });
    content.records.push({
      seq: number("seq"),
      step: number("step"),
      posStart: number("pos_start"),
      tap: text("tap"),
      op: text("op"),
      dtype: text("dtype"),
      dims: text("dims"),
      layer: get<number | null>("layer", row),
      shape: [...get<Iterable<number>>("shape", row)],
      inputs: [...get<Iterable<string>>("inputs", row)],
      weights: [...get<Iterable<string>>("weights", row)],
      statistics: {
        count: number("count"),
        nanCount: number("nan_count"),
        infCount: number("inf_count"),
        zeroCount: number("zero_count"),
        min: number("min"),
        max: number("max"),
        maxAbs: number("max_abs"),
        maxAbsIndex: number("max_abs_index"),
        mean: number("mean"),
        rms: number("rms"),
      },
      rowRms: rowRms ? rowRms.slice() : new Float32Array(0),
      hash: get<bigint>("hash", row),
      elapsedUs: get<number | null>("elapsed_us", row),
      hasSketch: (list("sketch")?.length ?? 0) > 0,
      hasValues,
    });
  }
}

/** Opens a trace for as long as the work takes. */
export async function withTrace<T>(path: string, work: (trace: Trace) => Promise<T>): Promise<T> {
  const trace = await Trace.open(path);
  try {
    return await work(trace);
  } finally {
    await trace.close();
  }
}
