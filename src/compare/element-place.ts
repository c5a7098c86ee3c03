/** Where an element of a tensor stands, in words of its dims. */
import { type AxisSizes, parseDims } from "../trace/dims.ts";

export interface ElementPlace {
  /** Flat row-major index. */
  readonly index: number;
  /** Row among all axes but the last. */
  readonly row: number;
  readonly column: number;
  /** Row within the step, and position in the sequence; null for a tensor without tokens. */
  readonly token: number | null;
  readonly position: number | null;
  /** Head, or KV head; null where the tensor has none. */
  readonly head: number | null;
  /** True for a (token, key) whose key lies after the token: nothing right depends on it. */
  readonly masked: boolean;
}

/** The place of element `index`. `sizes` are those of the step (Model.axes), `posStart` the position of its first token. */
export function placeOf(dims: string, sizes: AxisSizes, posStart: number, index: number): ElementPlace {
  const axes = parseDims(dims);
  const found = new Map<string, number>();
  let rest = index;
  for (const name of axes.flat().reverse()) {
    const size = sizes[name] ?? 1;
    found.set(name, rest % size);
    rest = Math.floor(rest / size);
  }
  const columns = (axes.at(-1) ?? []).reduce((product, name) => product * (sizes[name] ?? 1), 1);
  const token = found.get("token") ?? null;
  const position = token === null ? null : posStart + token;
  const key = found.get("key");
  return {
    ...{ index, row: Math.floor(index / columns), column: index % columns, token, position },
    head: found.get("head") ?? found.get("kv_head") ?? null,
    masked: key !== undefined && position !== null && key > position,
  };
}
