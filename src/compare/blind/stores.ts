/** Faults of activations, sums of the stream, memory, precision and tokens. */
import type { OpKind } from "../../model/ops.ts";
import { specialIds } from "../../model/vocabulary.ts";
import { shapeOf } from "../../trace/dims.ts";
import { layerOfTap } from "../../trace/taps.ts";
import { type Hidden, hidden, UNKNOWN } from "./reasons.ts";
import { type Check, decodes, family, hasTwoKeys, type Rule, type Site } from "./rule.ts";
import type { RunFacts } from "./run-facts.ts";

export const ACTIVATION: readonly Rule[] = family(
  "act",
  { kinds: ["swiglu"] },
  { "gelu-tanh": [], "gelu-erf": [], relu: [], sigmoid: [], missing: [], "on-up": [] },
);

export const RESIDUAL: readonly Rule[] = family(
  "residual",
  { kinds: ["add"] },
  { missing: [], twice: [], "from-norm": [] },
);

const TOKEN_ROWS: readonly OpKind[] = ["embed", "rms_norm", "linear", "rope", "attn_ctx", "swiglu", "add"];
const ALL: readonly OpKind[] = [...TOKEN_ROWS, "attn_scores", "causal_softmax"];

/** Some earlier tensor of the layer has the same shape and holds something else. */
const hasTwin: Check = ({ op, model, run }) => {
  const shape = (dims: string) => shapeOf(dims, model.axes(2, 3)).join();
  const index = model.graph.findIndex((node) => node.op.tap === op.tap);
  const twins = model.graph
    .slice(0, index)
    .filter(({ op: { tap, dims } }) => layerOfTap(tap) === layerOfTap(op.tap) && shape(dims) === shape(op.dims));
  if (twins.length === 0) return hidden("no-twin");
  const own = run.labels(op.tap);
  const differs = twins.some(({ op: { tap } }) => run.labels(tap).some((label, i) => label !== own[i]));
  return differs ? null : hidden("position-0");
};

const rowChanges: Check = ({ op, run }) => (run.decodesDiffer(op.tap) ? null : hidden("equal-decode"));

export const MEMORY: readonly Rule[] = [
  ...family("memory", { kinds: ALL }, { alias: [hasTwin], uninitialised: [], nan: [] }),
  ...family("memory", { kinds: TOKEN_ROWS }, { "stale-step": [decodes, rowChanges], race: [] }),
];

const isSingle: Check = ({ run }) => (run.capture.dtype === "f16" ? hidden("f16-run") : null);

/** Values that are of the type already: rows of a table of that type, and the probability of a lone key. */
const isFinerThan =
  (type: string): Check =>
  (site) => {
    const { op, model } = site;
    if (op.kind === "causal_softmax") return hasTwoKeys(site);
    if (op.kind !== "embed" || model.file.tensor(op.weights[0] ?? "").type.name !== type) return null;
    return hidden("halves-already", { type });
  };

/** Largest half. */
const LARGEST = 65504;
/** Least normal half. */
const LEAST = 2 ** -14;

const passesLargest: Check = ({ op, run }) => {
  const known = run.statistics(op.tap);
  if (known === null) return UNKNOWN;
  const maxAbs = Math.max(...known.map(({ statistics }) => statistics.maxAbs));
  return maxAbs > LARGEST ? null : hidden("values-small", { maxAbs, limit: LARGEST });
};

const holdsSmall: Check = ({ op, run }) => {
  const known = run.statistics(op.tap);
  if (known === null) return UNKNOWN;
  const least = Math.min(...known.map(({ leastAbs, statistics: { min, max } }) => leastAbs ?? Math.max(min, -max)));
  if (least >= LEAST) return hidden("values-large", { least, limit: LEAST });
  if (known.some(({ leastAbs }) => leastAbs === undefined)) {
    return hidden("not-known", { of: "values below 2^-14" }, { full: true });
  }
  return null;
};

export const PRECISION: readonly Rule[] = family(
  "precision",
  { kinds: ALL },
  {
    "f16-store": [isSingle, isFinerThan("F16")],
    "bf16-store": [isFinerThan("BF16")],
    "f16-overflow": [passesLargest],
    "flush-subnormals": [holdsSmall],
  },
);

/** Faults of the sequence: they befall no op. */
export const TOKENS: readonly {
  readonly id: string;
  readonly hides: (site: Pick<Site, "model" | "run">) => Hidden | null;
}[] = [
  { id: "token.extra-bos", hides: ({ model }) => (bosOf(model) === undefined ? hidden("no-bos") : null) },
  {
    id: "token.missing-bos",
    hides: ({ model, run }) => {
      const bos = bosOf(model);
      if (bos === undefined) return hidden("no-bos");
      return run.rows[0]?.token === bos && firstStep(run) > 1 ? null : hidden("no-bos-first", { bos });
    },
  },
  // A text always has a first token; where a space before it changes none, planting says so.
  { id: "token.space-prefix", hides: () => null },
];

export const bosOf = ({ file }: Site["model"]) => specialIds(file.metadata).bosId;

const firstStep = ({ steps }: RunFacts) => steps[0]?.tokens.length ?? 0;
