/**
 * Writes a trace: records are grouped into small batches and go to `FILE.partial`, which is renamed to FILE when it is whole.
 * Whatever stops the run (a full disk, Ctrl-C, a crash) leaves a partial file that can be read up to its last whole batch.
 */
import { closeSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import {
  AsyncByteQueue,
  Message,
  RecordBatchFileWriter,
  type Schema,
  Utf8,
  type Vector,
  vectorFromArray,
} from "apache-arrow";
import { batchFromRecords, type Dictionaries, payloadBytes } from "./batch.ts";
import { TraceError } from "./errors.ts";
import { systemReason } from "./files.ts";
import { checkRecord, type Manifest, type RecordPlan, type TraceRecord } from "./record.ts";
import { type Columns, DICTIONARY_COLUMNS, type DictionaryColumn, MANIFEST_KEY, traceSchema } from "./schema.ts";

/** A batch is written when its records hold this much: small enough to stay in memory, large enough to cost little each. */
const BATCH_BYTES = 1 << 20;

/** Arrow's writer believes that it queues bytes; they go to the file at once, so errors surface where they happen. */
class FileSink extends AsyncByteQueue {
  readonly #write: (bytes: Uint8Array) => void;
  constructor(write: (bytes: Uint8Array) => void) {
    super();
    this.#write = write;
  }
  override write(value: Uint8Array): void {
    this.#write(value);
  }
}

/**
 * Arrow's file writer leaves out the schema message that the format puts after the magic. Without it a file that was never
 * finished could not be read as the stream that it is.
 */
class TraceFileWriter extends RecordBatchFileWriter<Columns> {
  protected override _writeSchema(schema: Schema<Columns>): this {
    return this._writeMagic()._writePadding(2)._writeMessage(Message.from(schema));
  }
}

/** What a trace will hold, by name: every tap, op, dtype and dims string that a record may use. */
export type Vocabulary = Readonly<Record<DictionaryColumn, readonly string[]>>;

/** The vocabulary of a list of planned records. */
export function vocabularyOf(plans: Iterable<Pick<RecordPlan, DictionaryColumn>>): Vocabulary {
  const sets = { tap: new Set<string>(), op: new Set<string>(), dtype: new Set<string>(), dims: new Set<string>() };
  for (const plan of plans) for (const column of DICTIONARY_COLUMNS) sets[column].add(plan[column]);
  return { tap: [...sets.tap], op: [...sets.op], dtype: [...sets.dtype], dims: [...sets.dims] };
}

function dictionariesOf(vocabulary: Vocabulary): Dictionaries {
  const entry = (names: readonly string[]) => ({
    vector: vectorFromArray(names.length > 0 ? names : [""], new Utf8()) as Vector<Utf8>,
    indexOf: new Map(names.map((name, index) => [name, index])),
  });
  return {
    tap: entry(vocabulary.tap),
    op: entry(vocabulary.op),
    dtype: entry(vocabulary.dtype),
    dims: entry(vocabulary.dims),
  };
}

export class TraceWriter {
  readonly path: string;
  readonly #fd: number;
  readonly #arrow = new TraceFileWriter({ autoDestroy: false });
  readonly #schema: Schema<Columns>;
  readonly #dictionaries: Dictionaries;
  #pending: TraceRecord[] = [];
  #pendingBytes = 0;
  #seq = 0;
  /** Records in whole batches: what a reader of the partial file finds. */
  #kept = 0;
  #open = true;

  /** Opens `path + ".partial"` and writes the header. Throws TraceError where the place cannot be written. */
  constructor(path: string, manifest: Manifest, vocabulary: Vocabulary) {
    this.path = path;
    this.#schema = traceSchema(manifest);
    this.#dictionaries = dictionariesOf(vocabulary);
    try {
      // The partial file could be written beside a folder; only its renaming would fail, when all work is done.
      if (path === "" || statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
        throw Object.assign(new Error("a folder"), { code: "EISDIR" });
      }
      this.#fd = openSync(this.partialPath, "w");
    } catch (error) {
      throw new TraceError(`${path}: cannot be written (${systemReason(error)}); choose another place with -o`);
    }
    try {
      this.#arrow.reset(new FileSink((bytes) => this.#writeAll(bytes)), this.#schema);
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  get partialPath(): string {
    return `${this.path}.partial`;
  }

  /** Records written or waiting so far; the next record's seq. */
  get count(): number {
    return this.#seq;
  }

  /** Adds one record; its `seq` is given here. */
  write(record: Omit<TraceRecord, "seq">): void {
    const numbered: TraceRecord = { ...record, seq: this.#seq++ };
    checkRecord(numbered);
    this.#pending.push(numbered);
    this.#pendingBytes += payloadBytes(numbered);
    if (this.#pendingBytes >= BATCH_BYTES) this.flush();
  }

  /** Writes what waits as one batch. Called at the end of each step, so that a partial file ends with whole steps. */
  flush(): void {
    if (this.#pending.length === 0) return;
    const records = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#arrow.write(batchFromRecords(this.#schema, records, this.#dictionaries));
    this.#kept = this.#seq;
  }

  /**
   * Ends the file and gives it its name. `manifest` replaces the one given at the start: it stands in the footer, where readers
   * look, and knows the tokens that were chosen on the way. A trace without records is refused.
   */
  finish(manifest: Manifest): void {
    if (this.#seq === 0) {
      this.discard();
      throw new TraceError(`${this.path}: nothing to record; no tap matches, see faultline trace --help`);
    }
    this.flush();
    this.#schema.metadata.set(MANIFEST_KEY, JSON.stringify(manifest));
    this.#arrow.finish();
    this.close();
    try {
      renameSync(this.partialPath, this.path);
    } catch (error) {
      throw new TraceError(
        `${this.path}: cannot be written (${systemReason(error)}); the trace is whole in ${this.partialPath}`,
      );
    }
  }

  /** Leaves the partial file as it is, up to its last whole batch; removes it where there is none. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
    if (this.#kept === 0) rmSync(this.partialPath, { force: true });
  }

  /** Removes the partial file: for runs that failed before they had anything to show. */
  discard(): void {
    this.close();
    rmSync(this.partialPath, { force: true });
  }

  #writeAll(bytes: Uint8Array): void {
    let offset = 0;
    try {
      while (offset < bytes.length) offset += writeSync(this.#fd, bytes, offset);
    } catch (error) {
      throw new TraceError(
        `${this.partialPath}: writing stopped (${systemReason(error)}) with ${this.#kept} records; free space or choose another place with -o, ${this.#kept === 0 ? "nothing was kept" : "what was written can be read"}`,
      );
    }
  }
}
