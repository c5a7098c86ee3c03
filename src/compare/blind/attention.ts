/** Faults of RoPE, of attention and of the KV cache: what positions, heads and steps hide. */
import { type RopeParameters, type RopeTable, ropeTable } from "../../model/rope.ts";
import { nameInLayer } from "../../trace/taps.ts";
import { type Hidden, hidden, UNKNOWN } from "./reasons.ts";
import { type Check, decodes, family, hasTwoKeys, hasTwoRows, isTurned, type Rule } from "./rule.ts";
import type { RunFacts } from "./run-facts.ts";

/** The table of one position with the fault. */
type WrongTable = (rope: RopeParameters, position: number) => RopeTable;

const changed =
  (changes: (rope: RopeParameters) => Partial<RopeParameters>, shift = 0): WrongTable =>
  (rope, position) =>
    ropeTable({ ...rope, ...changes(rope) }, position + shift, 1);

/** Pairs from `first` on are not turned. */
const still =
  (first: (rope: RopeParameters) => number): WrongTable =>
  (rope, position) => {
    const { cos, sin } = ropeTable(rope, position, 1);
    return { cos: cos.map((c, j) => (j < first(rope) ? c : 1)), sin: sin.map((s, j) => (j < first(rope) ? s : 0)) };
  };

/** Relative L2 distance of what two tables make of a row with equal energy in all pairs. */
function distance(wrong: WrongTable, rope: RopeParameters, position: number): number {
  const [a, b] = [ropeTable(rope, position, 1), wrong(rope, position)];
  const square = (x: number) => x * x;
  const difference = a.cos.reduce(
    (sum, c, j) => sum + square(c - (b.cos[j] ?? 0)) + square((a.sin[j] ?? 0) - (b.sin[j] ?? 0)),
    0,
  );
  const size = a.cos.reduce((sum, c, j) => sum + square(c) + square(a.sin[j] ?? 0), 0);
  return Math.sqrt(difference / size);
}

/** Distance that a prompt is sought for, well above what can just be seen. */
const CLEAR = 1e-3;
/** Positions of a run that are looked at. */
const LOOKED_AT = 64;

/** The same for all ropes of a run, so judged once. */
function anglesDiffer(wrong: WrongTable): Check {
  const judged = new WeakMap<RunFacts, Hidden | null>();
  return ({ run }) => {
    const known = judged.get(run);
    if (known !== undefined) return known;
    const judgement = judgeAngles(wrong, run);
    judged.set(run, judgement);
    return judgement;
  };
}

function judgeAngles(wrong: WrongTable, run: RunFacts): Hidden | null {
  const { rope, context } = run.model.parameters;
  const largest = Math.max(...somePositions(run).map((position) => distance(wrong, rope, position)));
  if (largest > run.leastEffect) return null;
  if (run.lastPosition === 0) return hidden("position-0");
  const powers = Array.from({ length: Math.ceil(Math.log2(context)) }, (_, i) => 2 ** i);
  const enough = powers.find((position) => position < context && distance(wrong, rope, position) > CLEAR);
  const facts = { difference: largest, position: run.lastPosition };
  return hidden("same-angles", facts, enough === undefined ? null : { tokens: enough + 1 });
}

function somePositions({ lastPosition }: RunFacts): number[] {
  const count = Math.min(LOOKED_AT, lastPosition + 1);
  return Array.from({ length: count }, (_, i) => Math.round((i * lastPosition) / Math.max(1, count - 1)));
}

const usualBase = (base: number) => (base === 10000 ? 500000 : 10000);

const isScaled: Check = ({ model }) => {
  const { scaling, factors } = model.parameters.rope;
  return scaling.type === "none" && factors === null ? hidden("same-factor", { factor: "no scaling" }) : null;
};

const hasPairs: Check = ({ op }) => (op.kind === "rope" && op.headDim > 2 ? null : hidden("one-pair"));

const hasHeads: Check = ({ op, model: { parameters } }) =>
  (nameInLayer(op.tap) === "k_rope" ? parameters.kvHeads : parameters.heads) > 1 ? null : hidden("one-head");

const rope = { kinds: ["rope"] } as const;

export const ROPE: readonly Rule[] = [
  ...family("rope", rope, {
    pairing: [hasPairs, isTurned],
    sign: [anglesDiffer((of, position) => turnedBack(ropeTable(of, position, 1)))],
    base: [anglesDiffer(changed(({ base }) => ({ base: usualBase(base) })))],
    "frequency-exponent": [anglesDiffer(changed(({ base }) => ({ base: Math.sqrt(base) })))],
    "scaling-missing": [isScaled, anglesDiffer(changed(() => ({ scaling: { type: "none" }, factors: null })))],
    "position-plus-one": [anglesDiffer(changed(() => ({}), 1))],
    "position-minus-one": [anglesDiffer(changed(() => ({}), -1))],
    "position-zero": [decodes, anglesDiffer(still(() => 0))],
    twice: [anglesDiffer((of, position) => doubled(ropeTable(of, position, 1)))],
    "first-head-only": [hasHeads, isTurned],
    "half-dims": [hasPairs, anglesDiffer(still(({ dimensions }) => Math.floor(dimensions / 4)))],
  }),
  ...family("rope", { ...rope, names: ["q_rope"] }, { "q-unrotated": [anglesDiffer(still(() => 0))] }),
  ...family("rope", { ...rope, names: ["k_rope"] }, { "k-unrotated": [anglesDiffer(still(() => 0))] }),
];

function turnedBack({ cos, sin }: RopeTable): RopeTable {
  return { cos, sin: sin.map((s) => -s) };
}

function doubled({ cos, sin }: RopeTable): RopeTable {
  return { cos: cos.map((c, j) => c * c - (sin[j] ?? 0) ** 2), sin: sin.map((s, j) => 2 * s * (cos[j] ?? 0)) };
}

const factorDiffers =
  (wrong: (scale: number, embd: number) => number): Check =>
  ({ op, model }) =>
    op.kind === "attn_scores" && Math.fround(wrong(op.scale, model.parameters.embd)) === Math.fround(op.scale)
      ? hidden("same-factor", { factor: op.scale })
      : null;

const headMapsDiffer: Check = ({ op }) => {
  if (op.kind !== "attn_scores" && op.kind !== "attn_ctx") return null;
  const { heads, kvHeads } = op;
  const all = Array.from({ length: heads }, (_, head) => head);
  return all.some((head) => head % kvHeads !== Math.floor((head * kvHeads) / heads))
    ? null
    : hidden("same-head-map", { heads, kvHeads });
};

const headsMove: Check = ({ op }) =>
  op.kind === "attn_ctx" && (op.heads === 1 || op.headDim === 1) ? hidden("one-head") : null;

const placesRecorded: Check = ({ run }) => (run.capture.level === "stats" ? hidden("statistics-only") : null);

/** exp overflows f32 above this: ln of the largest number, 88.72. */
const OVERFLOW = Math.log(3.4028234663852886e38);
/** Below this exp loses digits to the least normal number: ln 2^-126 = -87.3, less what keeps a row's smaller terms. */
const UNDERFLOW = -80;

const scoresOverflow: Check = (site) => {
  const tap = site.node.inputs[0]?.tap ?? "";
  const known = site.run.statistics(tap);
  if (known === null) return UNKNOWN;
  const max = Math.max(...known.map(({ statistics }) => statistics.max));
  const min = Math.min(...known.map(({ statistics }) => statistics.min));
  if (max > OVERFLOW) return null;
  const sums = max + Math.log(site.run.lastPosition + 1) < OVERFLOW;
  return sums && min > UNDERFLOW
    ? hidden("scores-small", { min, max })
    : hidden("not-known", { of: "each row's largest score", min, max });
};

export const ATTENTION: readonly Rule[] = [
  ...family(
    "attn",
    { kinds: ["attn_scores"] },
    {
      "scale-missing": [factorDiffers(() => 1)],
      "scale-twice": [factorDiffers((scale) => scale * scale)],
      "scale-model-dim": [factorDiffers((_, embd) => 1 / Math.sqrt(embd))],
    },
  ),
  ...family("attn", { kinds: ["attn_scores", "attn_ctx"] }, { "gqa-modulo": [headMapsDiffer] }),
  ...family(
    "attn",
    { kinds: ["causal_softmax"] },
    {
      "mask-missing": [hasTwoRows],
      "mask-one-ahead": [hasTwoRows],
      "mask-excludes-self": [],
      "mask-zero": [hasTwoRows],
      "softmax-axis": [hasTwoKeys],
      "softmax-no-max": [scoresOverflow],
    },
  ),
  ...family("attn", { kinds: ["attn_ctx"] }, { "heads-merged-transposed": [headsMove, placesRecorded] }),
];

/** The cached row of a decode step is another than the row before it. */
const cachedDiffers: Check = ({ node, run }) => {
  const cached = node.inputs.find((input) => input.cached)?.tap ?? "";
  return run.decodesDiffer(cached) ? null : hidden("equal-decode");
};

const hasOtherLayer: Check = ({ model }) => (model.layers.length < 2 ? hidden("one-layer") : null);

/** Each of them shows in the first decode step: what it reads of its own row, or of the row before it, is not what was computed. */
export const CACHE: readonly Rule[] = [
  ...family(
    "kv",
    { kinds: ["attn_scores", "attn_ctx"] },
    {
      "newest-dropped": [decodes],
      "newest-duplicated": [decodes, cachedDiffers],
      stale: [decodes, cachedDiffers],
      "slot-plus-one": [decodes],
      "other-layer": [decodes, hasOtherLayer],
    },
  ),
  ...family("kv", { kinds: ["attn_ctx"] }, { "v-stale": [decodes, cachedDiffers] }),
  ...family("kv", { kinds: ["attn_scores"] }, { "k-unrotated": [decodes] }),
];
