/** Faults of the embedding. */

import { type FaultKind, family } from "./fault.ts";
import { edit, f32 } from "./site.ts";

export const EMBED: readonly FaultKind[] = family("embed", { kinds: ["embed"], at: "embed" } as const, {
  "row-plus-one": {
    what: "Every token has its neighbour's embedding: fluent nonsense from the first op on; an id or row offset is off by one, look at padding rows and at 1-based ids.",
    compute: (_site, clean) =>
      edit(clean, "get_rows", ["let row = ids[token] -", "let row = (ids[token] + 1u) % shape.all_rows -"]),
  },
  "scale-extra": {
    what: "Embeddings are sqrt(embd) times too large: norms hide most of it, residuals do not; Gemma's scale was applied to a model that has none.",
    compute: (site, clean) =>
      edit(clean, "get_rows", [
        "= w[i / 4u][i & 3u];",
        `= ${f32(Math.sqrt(site.model.parameters.embd))} * w[i / 4u][i & 3u];`,
      ]),
  },
});
