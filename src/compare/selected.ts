/** Statistics of some rows of a record, from its values: what statistics of other rows cannot be held against. */
import { type Statistics, statisticsOf } from "../trace/statistics.ts";

/** Statistics of the token rows `rows` of a tensor of `outer` blocks of `tokens` rows of `columns`. */
export function selectedStatistics(
  values: Float32Array,
  { outer, tokens, columns }: { readonly outer: number; readonly tokens: number; readonly columns: number },
  rows: readonly number[],
): Statistics {
  const selected = new Float32Array(outer * rows.length * columns);
  let next = 0;
  for (let o = 0; o < outer; o++) {
    for (const row of rows) {
      const at = (o * tokens + row) * columns;
      selected.set(values.subarray(at, at + columns), next);
      next += columns;
    }
  }
  return statisticsOf(selected, outer * rows.length, columns).statistics;
}
