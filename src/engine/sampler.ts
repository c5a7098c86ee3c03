/** Chooses the next token from logits. The same seed, settings and logits give the same tokens. */

export interface SamplerSettings {
  /** 0: the most likely token. Else logits are divided by it. */
  readonly temperature: number;
  /** Keep the k most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the fewest tokens whose probabilities reach this sum; 1 keeps all. */
  readonly topP: number;
  readonly seed: number;
}

export const GREEDY: SamplerSettings = { temperature: 0, topK: 0, topP: 1, seed: 0 };

/** Token of the largest logit; of equal ones the lowest id. NaN never wins; all NaN gives 0. */
export function argmax(logits: ArrayLike<number>): number {
  let best = 0;
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i] as number;
    if (logit > largest) {
      largest = logit;
      best = i;
    }
  }
  return best;
}

/** A sampler with its own random stream. Order: top-k, temperature, top-p on the tempered probabilities, draw. */
export function createSampler(settings: SamplerSettings): (logits: ArrayLike<number>) => number {
  if (settings.temperature === 0) return argmax;
  const random = uniformStream(settings.seed);
  return (logits) => {
    const ids = Array.from({ length: logits.length }, (_, id) => id).filter((id) => !Number.isNaN(logits[id]));
    const logit = (id: number) => logits[id] as number;
    ids.sort((a, b) => logit(b) - logit(a) || a - b);
    if (settings.topK > 0) ids.length = Math.min(ids.length, settings.topK);
    const largest = logit(ids[0] ?? 0);
    const weights = ids.map((id) => Math.exp((logit(id) - largest) / settings.temperature));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let kept = 0;
    let mass = 0;
    while (kept < ids.length && (kept === 0 || mass < settings.topP * total)) mass += weights[kept++] ?? 0;
    let rest = random() * mass;
    for (let i = 0; i < kept; i++) {
      rest -= weights[i] ?? 0;
      if (rest < 0) return ids[i] ?? 0;
    }
    return ids[kept - 1] ?? 0;
  };
}

/** Numbers in [0, 1) from a 32-bit seed: mulberry32 (T. Ettinger, public domain). */
function uniformStream(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
