/** The Arrow schema of a trace, in one place. docs/trace-format.md is the specification for readers in other languages. */
import { Dictionary, Field, Float32, Float64, Int32, List, Schema, Uint32, Uint64, Utf8 } from "apache-arrow";
import { FORMAT_VERSION, type Manifest } from "./record.ts";

export const VERSION_KEY = "faultline.version";
export const MANIFEST_KEY = "faultline.manifest";

/** The dictionary-encoded columns. Their values are known before the first record is written, so a file holds each dictionary once. */
export const DICTIONARY_COLUMNS = ["tap", "op", "dtype", "dims"] as const;
export type DictionaryColumn = (typeof DICTIONARY_COLUMNS)[number];

const utf8 = () => new Utf8();
const list = <T extends Float32 | Uint32 | Utf8>(item: T) => new List<T>(new Field("item", item, false));
const dictionary = (id: number) => new Dictionary(utf8(), new Int32(), id);

/** Column types in file order. */
export const COLUMNS = {
  seq: new Uint32(),
  step: new Uint32(),
  pos_start: new Uint32(),
  tap: dictionary(1),
  op: dictionary(2),
  dtype: dictionary(3),
  dims: dictionary(4),
  layer: new Int32(),
  shape: list(new Uint32()),
  inputs: list(utf8()),
  weights: list(utf8()),
  count: new Uint32(),
  nan_count: new Uint32(),
  inf_count: new Uint32(),
  zero_count: new Uint32(),
  min: new Float32(),
  max: new Float32(),
  max_abs: new Float32(),
  max_abs_index: new Uint32(),
  mean: new Float64(),
  rms: new Float64(),
  row_rms: list(new Float32()),
  sketch: list(new Float32()),
  hash: new Uint64(),
  elapsed_us: new Float64(),
  values: list(new Float32()),
} as const;
export type Columns = typeof COLUMNS;
export type ColumnName = keyof Columns;

const NULLABLE: ReadonlySet<string> = new Set<ColumnName>(["layer", "elapsed_us", "values"]);

/** The schema of one file, with its manifest as metadata. */
export function traceSchema(manifest: Manifest): Schema<Columns> {
  const fields = Object.entries(COLUMNS).map(([name, type]) => new Field(name, type, NULLABLE.has(name)));
  const metadata = new Map([
    [VERSION_KEY, FORMAT_VERSION],
    [MANIFEST_KEY, JSON.stringify(manifest)],
  ]);
  return new Schema<Columns>(fields as Schema<Columns>["fields"], metadata);
}
