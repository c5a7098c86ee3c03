/** Faults of RoPE: mostly another table of angles. */
import { type RopeParameters, ropeTable } from "../../model/rope.ts";
import type { Edit } from "../kernels.ts";
import { type FaultKind, family } from "./fault.ts";
import { edit, inDecoding, type Site } from "./site.ts";

interface Angles {
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

const table = (site: Site, changes: Partial<RopeParameters>, first = 0): Angles =>
  ropeTable({ ...site.model.parameters.rope, ...changes }, first, site.capacity);

const turned = (site: Site, { cos, sin }: Angles) =>
  site.lower({ context: { cosines: site.upload("cos", cos), sines: site.upload("sin", sin) } });

const edited =
  (...edits: Edit[]): NonNullable<FaultKind["compute"]> =>
  (_site, clean) =>
    edit(clean, "rope", ...edits);

/** No turn for pairs of a head from `first` on. */
function still(site: Site, first: number) {
  const { cos, sin } = table(site, {});
  const pairs = site.model.parameters.rope.dimensions / 2;
  const keep = (i: number) => i % pairs < first;
  return turned(site, { cos: cos.map((c, i) => (keep(i) ? c : 1)), sin: sin.map((s, i) => (keep(i) ? s : 0)) });
}

const usualBase = (base: number) => (base === 10000 ? 500000 : 10000);

export const ROPE: readonly FaultKind[] = family("rope", { kinds: ["rope"], at: "q_rope" } as const, {
  pairing: {
    what: "Position 0 is right, text falls apart with distance: element j was turned with j + head_dim/2 instead of its neighbour (or the reverse); GGUF's llama rows are ordered for neighbours, HF's for halves.",
    idle: (op) => (op.kind === "rope" && op.headDim === 2 ? "a head is one pair" : null),
    compute: edited(
      [
        "let at = token * COLUMNS + 2u * pair;",
        "let part = HEAD_DIM / 2u;\n  let at = token * COLUMNS + (pair / part) * HEAD_DIM + pair % part;",
      ],
      ["let b = x[at + 1u];", "let b = x[at + part];"],
      ["y[at + 1u] =", "y[at + part] ="],
    ),
  },
  sign: {
    what: "Position 0 is right, the error grows with position: heads are turned backwards; a sine's sign, planted in q or k alone, otherwise the two cancel.",
    compute: (site) => {
      const { cos, sin } = table(site, {});
      return turned(site, { cos, sin: sin.map((each) => -each) });
    },
  },
  base: {
    what: "Near tokens are fine, far ones drift, low frequencies most: another base (10000 for 500000) than the file says.",
    parameter: { name: "base", least: 1, usual: (_op, { parameters }) => usualBase(parameters.rope.base) },
    idle: (_op, { parameters }, base) => (base === parameters.rope.base ? `its base is ${base} already` : null),
    compute: (site, _clean, base) => turned(site, table(site, { base })),
  },
  "frequency-exponent": {
    what: "Pair 0 is right and every further one turns too fast: the exponent is i/d instead of 2i/d, where i counts pairs.",
    compute: (site) => turned(site, table(site, { base: Math.sqrt(site.model.parameters.rope.base) })),
  },
  "scaling-missing": {
    what: "Short prompts seem fine, long ones fail: the file's RoPE scaling (linear, yarn, llama3 factors) is ignored.",
    idle: (_op, { parameters: { rope } }) =>
      rope.scaling.type === "none" && rope.factors === null ? "the model has no RoPE scaling" : null,
    compute: (site) => turned(site, table(site, { scaling: { type: "none" }, factors: null })),
  },
  "position-plus-one": {
    what: "Every row is turned one position too far, position 0 included: positions count from 1, or were advanced before use; seen only if q and k differ.",
    compute: (site) => turned(site, table(site, {}, 1)),
  },
  "position-minus-one": {
    what: "Every row is turned one position too little: the position is taken before it was advanced, or the prompt's BOS was not counted.",
    compute: (site) => turned(site, table(site, {}, -1)),
  },
  "position-zero": {
    what: "The prefill is right, from the first decode step on rows are not turned at all: the position is not handed to the decode pass.",
    decoding: true,
    compute: (site, clean) =>
      inDecoding(
        site,
        clean,
        clean.map((dispatch) => ({ ...dispatch, uniform: ({ tokens }) => [tokens, 0] })),
      ),
  },
  twice: {
    what: "Angles are double, position 0 is right: RoPE runs when keys are stored and again when they are read, or in a fused kernel and beside it.",
    compute: (site) => {
      const { cos, sin } = table(site, {});
      return turned(site, {
        cos: cos.map((c, i) => c * c - (sin[i] as number) ** 2),
        sin: sin.map((s, i) => 2 * s * (cos[i] as number)),
      });
    },
  },
  "first-head-only": {
    what: "Head 0 is right, the others are as they came from the projection: the grid covers head_dim columns instead of heads * head_dim.",
    idle: (op, { parameters }) =>
      (op.tap.endsWith("k_rope") ? parameters.kvHeads : parameters.heads) === 1 ? "it has one head" : null,
    compute: edited(
      ["let c = cosines[angle];", "let c = select(1.0, cosines[angle], pair < HEAD_DIM / 2u);"],
      ["let s = sines[angle];", "let s = select(0.0, sines[angle], pair < HEAD_DIM / 2u);"],
    ),
  },
  "half-dims": {
    what: "The first half of each head is right, the second as it came from the projection: half the pairs are turned; rope.dimension_count was taken for pairs, or halved twice.",
    idle: (op) => (op.kind === "rope" && op.headDim === 2 ? "a head is one pair" : null),
    compute: (site) => still(site, Math.floor(site.model.parameters.rope.dimensions / 4)),
  },
  "q-unrotated": {
    what: "Queries are as they came from the projection, keys are turned: scores ignore the query's position.",
    names: ["q_rope"],
    compute: (site) => still(site, 0),
  },
  "k-unrotated": {
    what: "Keys are as they came from the projection, queries are turned: scores ignore the key's position.",
    names: ["k_rope"],
    at: "k_rope",
    compute: (site) => still(site, 0),
  },
});
