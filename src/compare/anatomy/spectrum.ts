/** Facts of repetition and growth: a period or blocks of columns, and the error along the positions. */
import type { Groups, Tally } from "./tally.ts";

export interface PeriodFact {
  /** `period`: columns that lie this far apart have like errors. `blocks`: columns of one block of this size have. */
  readonly kind: "period" | "blocks";
  readonly size: number;
  /** Share of the variance of the columns' log energy that it explains, less what noise would give. */
  readonly r2: number;
}

export interface GrowthFact {
  readonly kind: "growth";
  /** Power of the position that the error grows with. */
  readonly slope: number;
  /** Relative L2 error of the first row that has one, and of the last; with their places. */
  readonly first: number;
  readonly last: number;
  readonly at: readonly [number, number];
}

/** Sizes of quantised blocks, of tiles and of workgroups. */
const SIZES = [16, 32, 64, 128, 256];
/** Whole repetitions that are needed, and the share of the variance. */
const REPETITIONS = 3;
const EXPLAINED = 0.6;

export function periodFact({ byColumn, columns, energy }: Tally): PeriodFact | null {
  if (energy === 0) return null;
  // Energies of columns are spread over powers of ten; the floor keeps what is nearly right from ruling the variance.
  const floor = (1e-4 * energy) / columns;
  const logs = byColumn.energy.map((each) => Math.log(each + floor));
  const sizes = SIZES.filter((size) => size * REPETITIONS <= columns);
  const found = (kind: PeriodFact["kind"], among: readonly number[]): PeriodFact | null => {
    for (const size of among) {
      const r2 = kind === "period" ? explained(logs, size, kind) : explainedByAll(logs, size);
      if (r2 >= EXPLAINED) return { kind, size, r2 };
    }
    return null;
  };
  // A period is one of its multiples too, a block is cut by its divisors: the least of the one, the largest of the other.
  return found("period", sizes) ?? found("blocks", [...sizes].reverse());
}

/** Borders at which the level must change, by more than two deviations within blocks: so many, and this share of all. */
const LEAST_CHANGES = 3;
const CHANGES = 0.4;

/** As `explained`; 0 where few borders make it, as wrong columns in one place do: that is no pattern of blocks. */
function explainedByAll(logs: Float64Array, size: number): number {
  const r2 = explained(logs, size, "blocks");
  if (r2 < EXPLAINED) return r2;
  const levels: number[] = [];
  let within = 0;
  for (let first = 0; first < logs.length; first += size) {
    const block = logs.subarray(first, first + size);
    const level = block.reduce((sum, each) => sum + each, 0) / block.length;
    within += block.reduce((sum, each) => sum + (each - level) ** 2, 0);
    levels.push(level);
  }
  const deviation = Math.sqrt(within / logs.length);
  const changes = levels.filter((level, i) => i > 0 && Math.abs(level - (levels[i - 1] ?? 0)) > 2 * deviation);
  return changes.length >= Math.max(LEAST_CHANGES, CHANGES * (levels.length - 1)) ? r2 : 0;
}

/** Adjusted R^2 of means by group. */
function explained(logs: Float64Array, size: number, kind: PeriodFact["kind"]): number {
  const count = logs.length;
  const number = kind === "period" ? size : Math.ceil(count / size);
  const [sums, members] = [new Float64Array(number), new Float64Array(number)];
  const mean = logs.reduce((sum, each) => sum + each, 0) / count;
  let total = 0;
  for (let c = 0; c < count; c++) {
    const group = kind === "period" ? c % size : Math.floor(c / size);
    const each = (logs[c] as number) - mean;
    sums[group] = (sums[group] as number) + each;
    members[group] = (members[group] as number) + 1;
    total += each * each;
  }
  const between = sums.reduce((sum, each, group) => sum + each ** 2 / (members[group] as number), 0);
  return total === 0 ? 0 : 1 - ((1 - between / total) * (count - 1)) / (count - number);
}

const LEAST_TOKENS = 8;
/** Rank correlation, and growth from the first third of the rows to the last, that make a trend: chance gives 8 rows 0.9 once in 700. */
const TREND = 0.9;
const TIMES = 2.5;

export function growthFact({ energy, size }: Groups): GrowthFact | null {
  const relative = Array.from(energy, (each, token) => Math.sqrt(each / (size[token] as number)));
  const rows = relative
    .map((value, token) => ({ token, value }))
    .filter(({ value, token }) => token > 0 && value > 0 && Number.isFinite(value));
  const [first, last] = [rows[0], rows.at(-1)];
  if (rows.length < LEAST_TOKENS || first === undefined || last === undefined) return null;
  // What is periodic in the angle wavers about its trend, so ranks are compared, and thirds of the rows.
  const third = Math.floor(rows.length / 3);
  const mean = (some: typeof rows) => some.reduce((sum, { value }) => sum + value, 0) / some.length;
  if (mean(rows.slice(-third)) < TIMES * mean(rows.slice(0, third)) || rankCorrelation(rows) < TREND) return null;
  return { kind: "growth", slope: slopeOf(rows), first: first.value, last: last.value, at: [first.token, last.token] };
}

/** Spearman's: 1 - 6 sum d^2 / (n (n^2 - 1)), rows being in the order of their tokens. */
function rankCorrelation(rows: readonly { value: number }[]): number {
  const n = rows.length;
  const order = rows.map(({ value }, i) => ({ value, i })).sort((a, b) => a.value - b.value);
  const sum = order.reduce((total, { i }, rank) => total + (i - rank) ** 2, 0);
  return 1 - (6 * sum) / (n * (n * n - 1));
}

/** Least squares of log error over log position. */
function slopeOf(rows: readonly { token: number; value: number }[]): number {
  const points = rows.map(({ token, value }) => [Math.log(token), Math.log(value)] as const);
  const mean = (axis: 0 | 1) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const [xy, xx] = points.reduce(([a, b], p) => [a + (p[0] - x) * (p[1] - y), b + (p[0] - x) ** 2], [0, 0]);
  return xy / xx;
}
