/** Statistics of one tensor, over its finite elements; what is not finite is counted apart, never replaced. */

export interface Statistics {
  readonly count: number;
  readonly nanCount: number;
  readonly infCount: number;
  readonly zeroCount: number;
  /** NaN where no element is finite; the same for the four below. */
  readonly min: number;
  readonly max: number;
  readonly maxAbs: number;
  readonly mean: number;
  readonly rms: number;
  /** Flat row-major index of the first element with the largest |x|; 0 where no element is finite. */
  readonly maxAbsIndex: number;
}

/** A statistic of a record, or null where it is not known: NaN although some elements are finite (docs/trace-format.md). */
export function knownStatistic(name: "min" | "max" | "maxAbs" | "mean" | "rms", of: Statistics): number | null {
  const finite = of.count - of.nanCount - of.infCount;
  return Number.isNaN(of[name]) && finite > 0 ? null : of[name];
}

/** What one row adds to the statistics of its tensor. The GPU delivers one per row, the CPU computes the same. */
export interface RowStatistics {
  readonly count: number;
  readonly nanCount: number;
  readonly infCount: number;
  readonly zeroCount: number;
  readonly min: number;
  readonly max: number;
  readonly maxAbs: number;
  /** Column of the first element with the largest |x|. */
  readonly maxAbsColumn: number;
  readonly sum: number;
  readonly sumOfSquares: number;
}

/** Folds rows, in order and in f64, into the statistics of the tensor; also gives the RMS of each row. */
export class StatisticsFold {
  readonly rowRms: Float32Array;
  #row = 0;
  #count = 0;
  #nan = 0;
  #inf = 0;
  #zero = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;
  #maxAbs = -1;
  #maxAbsIndex = 0;
  #sum = 0;
  #sumOfSquares = 0;

  constructor(rows: number) {
    this.rowRms = new Float32Array(rows);
  }

  add(row: RowStatistics): void {
    const finite = row.count - row.nanCount - row.infCount;
    this.rowRms[this.#row++] = finite === 0 ? Number.NaN : Math.sqrt(row.sumOfSquares / finite);
    if (finite > 0) {
      if (row.min < this.#min) this.#min = row.min;
      if (row.max > this.#max) this.#max = row.max;
      if (row.maxAbs > this.#maxAbs) {
        this.#maxAbs = row.maxAbs;
        this.#maxAbsIndex = this.#count + row.maxAbsColumn;
      }
    }
    this.#count += row.count;
    this.#nan += row.nanCount;
    this.#inf += row.infCount;
    this.#zero += row.zeroCount;
    this.#sum += row.sum;
    this.#sumOfSquares += row.sumOfSquares;
  }

  statistics(): Statistics {
    const finite = this.#count - this.#nan - this.#inf;
    const none = finite === 0;
    return {
      count: this.#count,
      nanCount: this.#nan,
      infCount: this.#inf,
      zeroCount: this.#zero,
      min: none ? Number.NaN : this.#min,
      max: none ? Number.NaN : this.#max,
      maxAbs: none ? Number.NaN : this.#maxAbs,
      mean: none ? Number.NaN : this.#sum / finite,
      rms: none ? Number.NaN : Math.sqrt(this.#sumOfSquares / finite),
      maxAbsIndex: this.#maxAbsIndex,
    };
  }
}

/** Statistics of one row of a tensor held in memory. */
export function rowStatistics(row: Float32Array): RowStatistics {
  let [nanCount, infCount, zeroCount, maxAbsColumn, sum, sumOfSquares] = [0, 0, 0, 0, 0, 0];
  let [min, max, maxAbs] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1];
  for (let c = 0; c < row.length; c++) {
    const x = row[c] as number;
    if (Number.isNaN(x)) nanCount++;
    else if (!Number.isFinite(x)) infCount++;
    else {
      if (x === 0) zeroCount++;
      if (x < min) min = x;
      if (x > max) max = x;
      const magnitude = Math.abs(x);
      if (magnitude > maxAbs) {
        maxAbs = magnitude;
        maxAbsColumn = c;
      }
      sum += x;
      sumOfSquares += x * x;
    }
  }
  return { count: row.length, nanCount, infCount, zeroCount, min, max, maxAbs, maxAbsColumn, sum, sumOfSquares };
}

/** Statistics and row RMS of a tensor held in memory, in f64. */
export function statisticsOf(
  values: Float32Array,
  rows: number,
  columns: number,
): { statistics: Statistics; rowRms: Float32Array } {
  const fold = new StatisticsFold(rows);
  for (let r = 0; r < rows; r++) fold.add(rowStatistics(values.subarray(r * columns, (r + 1) * columns)));
  return { statistics: fold.statistics(), rowRms: fold.rowRms };
}
