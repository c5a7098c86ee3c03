/** Faults of the KV cache: k_rope and v_proj stay right, what later steps read is not what was computed. */
import { layerOfTap, nameInLayer } from "../../trace/taps.ts";
import type { Dispatch } from "../lowering.ts";
import { type FaultKind, family } from "./fault.ts";
import { edit, inDecoding, type StoreSite } from "./site.ts";

/** The same store, `by` slots further on; rows that would fall off the cache's end are left out. */
function shifted(store: Dispatch, by: number): readonly Dispatch[] {
  const uniform = store.uniform;
  const moved = {
    ...store,
    uniform: uniform && ((step) => uniform({ ...step, posStart: step.posStart + by })),
  } as Dispatch;
  return edit([moved], "kv_store", [
    "if (column < COLUMNS) {",
    "if (column < COLUMNS && (step.pos_start + token + 1u) * COLUMNS <= arrayLength(&cache)) {",
  ]);
}

/** Each step's last row goes to the slot after it, where the next step finds it instead of its own. */
function oneStepLate(site: StoreSite, store: Dispatch): readonly Dispatch[] {
  const last: Dispatch = {
    ...store,
    uniform: ({ tokens, posStart }) => [tokens, posStart + tokens],
    grid: (step) => [store.grid(step)[0], 1, 1],
  };
  const guarded = edit(shifted(last, 0), "kv_store", ["x[token * COLUMNS", "x[(step.tokens - 1u + token) * COLUMNS"]);
  return [...inDecoding(site, [store], []), ...guarded];
}

export const CACHE: readonly FaultKind[] = family(
  "kv",
  { kinds: ["attn_scores", "attn_ctx"], at: "attn_scores", decoding: true } as const,
  {
    "newest-dropped": {
      what: "The prefill is right, each decode step's own row is missing from the cache (its slot reads 0): the store comes after the read, or its length was not advanced.",
      store: (site, store) =>
        inDecoding(
          site,
          [store],
          edit([store], "kv_store", ["= x[token * COLUMNS + column];", "= x[token * COLUMNS + column] & 0u;"]),
        ),
    },
    "newest-duplicated": {
      what: "From the first decode step on the newest row stands twice, over its predecessor too: the cache was appended to before and after the position was advanced.",
      store: (site, store) => inDecoding(site, [store], [store, ...shifted(store, -1)]),
    },
    stale: {
      what: "Each decode step finds the last step's row in its own slot: the cache is written from a buffer that was filled one step ago; look at double buffering and the order of copies.",
      store: oneStepLate,
    },
    "v-stale": {
      what: "Keys are right, each decode step finds the last step's values in its own slot: K and V are stored by different code, and V's runs too early.",
      kinds: ["attn_ctx"],
      at: "attn_ctx",
      store: oneStepLate,
    },
    "slot-plus-one": {
      what: "Decode steps store one slot too far, and the slot of the first stays empty: the position was advanced before the store.",
      store: (site, store) => inDecoding(site, [store], shifted(store, 1)),
    },
    "other-layer": {
      what: "The prefill is right, decode steps read the cache of the layer below (or above the first): the layer's offset is wrong where the cache is read.",
      idle: (_op, { layers }) => (layers.length < 2 ? "the pass has one layer" : null),
      compute: (site, clean) => {
        const { layers } = site.model;
        const own = layers.indexOf(layerOfTap(site.op.tap) ?? 0);
        const other = site.inLayer(layers[own > 0 ? own - 1 : 1] ?? 0, nameInLayer(site.producer(1).op.tap));
        return inDecoding(site, clean, site.lower({ inputs: [site.input(0), site.of(other, true)] }));
      },
    },
    "k-unrotated": {
      what: "The prefill is right, keys of decode steps are cached as they came from the projection: RoPE is applied to the copy that is used, not to the one that is stored.",
      kinds: ["attn_scores"],
      store: (site, store) =>
        inDecoding(site, [store], [{ ...store, bindings: { ...store.bindings, 1: site.input(0) } }]),
    },
  },
);
