/** What two sets of logits would do: the token they choose, how sure, and how far apart their distributions are. */

/** Tokens that are called the top. */
export const TOP = 5;

export interface LogitsRow {
  /** Position whose next token is chosen. */
  readonly position: number;
  readonly expectedTop: number;
  readonly actualTop: number;
  /** Share of the expected top 5 among the actual top 5. */
  readonly overlap: number;
  /** KL(expected || actual) of the softmaxes, nats. */
  readonly kl: number;
  /** Expected top logit less the second. */
  readonly margin: number;
  /** How far a logit may be off in a right computation: the allowed relL2 times the row's RMS. A margin within twice it may turn. */
  readonly noise: number;
}

export interface LogitsSummary {
  readonly rows: number;
  readonly sameTop: number;
  readonly overlap: number;
  readonly meanKl: number;
  readonly worstKl: number;
  /** Rows whose top token differs. */
  readonly flips: readonly LogitsRow[];
}

/** Judges one row of logits. `allowed`: relL2 within which two right computations may differ. */
export function logitsRow(expected: Float32Array, actual: Float32Array, position: number, allowed: number): LogitsRow {
  const [e, a] = [largest(expected), largest(actual)];
  const [first = 0, second = 0] = e;
  let squares = 0;
  for (let i = 0; i < expected.length; i++) squares += (expected[i] as number) ** 2;
  return {
    position,
    expectedTop: first,
    actualTop: a[0] ?? 0,
    overlap: e.filter((id) => a.includes(id)).length / e.length,
    kl: divergence(expected, actual, expected[first] as number, actual[a[0] ?? 0] as number),
    margin: (expected[first] as number) - (expected[second] as number),
    noise: allowed * Math.sqrt(squares / expected.length),
  };
}

/** Sums up rows. */
export function summariseLogits(rows: readonly LogitsRow[]): LogitsSummary | null {
  if (rows.length === 0) return null;
  const mean = (of: (row: LogitsRow) => number) => rows.reduce((sum, row) => sum + of(row), 0) / rows.length;
  return {
    rows: rows.length,
    sameTop: rows.filter((row) => row.expectedTop === row.actualTop).length,
    overlap: mean((row) => row.overlap),
    meanKl: mean((row) => row.kl),
    worstKl: Math.max(...rows.map((row) => row.kl)),
    flips: rows.filter((row) => row.expectedTop !== row.actualTop),
  };
}

/** Ids of the TOP largest, largest first; of equals the lowest id. NaN is below everything, as it is to a sampler. */
export function largest(logits: Float32Array): number[] {
  const top: number[] = [];
  const values: number[] = [];
  let least = Number.NaN; // until TOP are found: no comparison with it holds
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] as number;
    if (logit <= least || (top.length === TOP && Number.isNaN(logit))) continue;
    const value = Number.isNaN(logit) ? Number.NEGATIVE_INFINITY : logit;
    let at = top.length;
    while (at > 0 && value > (values[at - 1] as number)) at--;
    top.splice(at, 0, id);
    values.splice(at, 0, value);
    if (top.length > TOP) {
      top.pop();
      values.pop();
    }
    if (top.length === TOP) least = values[TOP - 1] as number;
  }
  return top;
}

/** KL of the softmaxes: sum p (e - a) - (log sum exp e - log sum exp a). Exponents are taken below each row's top. */
function divergence(expected: Float32Array, actual: Float32Array, eTop: number, aTop: number): number {
  let eSum = 0;
  let aSum = 0;
  let weighted = 0;
  for (let i = 0; i < expected.length; i++) {
    const e = (expected[i] as number) - eTop;
    const a = (actual[i] as number) - aTop;
    const p = Math.exp(e);
    eSum += p;
    aSum += Math.exp(a);
    weighted += p * (e - a);
  }
  return Math.max(0, weighted / eSum - Math.log(eSum) + Math.log(aSum));
}

/** -log of the probability that a row's softmax gives a token, in nats. NaN where a logit is NaN. */
export function nextTokenNats(logits: Float32Array, token: number): number {
  const most = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, x) => total + Math.exp(x - most), 0);
  return Math.log(sum) + most - (logits[token] ?? Number.NaN);
}
