/** Faults of the residual additions. */
import { type FaultKind, family } from "./fault.ts";
import { edit, type Site } from "./site.ts";

/** The norm that reads what the addition should add to. */
function normed(site: Site) {
  const stream = site.producer(0);
  const norm = site.before().find(({ op, inputs }) => op.kind === "rms_norm" && inputs[0]?.producer === stream);
  if (norm === undefined) throw new Error(`no norm reads ${stream.op.tap}`);
  return site.of(norm);
}

export const RESIDUAL: readonly FaultKind[] = family("residual", { kinds: ["add"], at: "attn_residual" } as const, {
  missing: {
    what: "The stream is the sublayer's output alone and forgets what came before: the addition was left out, or written to another buffer than the one read.",
    compute: (site) => [site.copy(site.input(1), site.output)],
  },
  twice: {
    what: "The stream doubles at this layer: it was added by the fused projection and once more after it.",
    compute: (_site, clean) => edit(clean, "add", ["y[i] = a[i] + b[i]; }", "y[i] = a[i] + b[i] + a[i]; }"]),
  },
  "from-norm": {
    what: "The stream loses its scale here: the normalised row was added instead of the row before the norm; look whether the norm works in place.",
    compute: (site) => {
      // The norm's arena may be the output's, and no dispatch reads and writes one buffer.
      const { rows, columns } = site.shape();
      const own = site.scratch("norm", 4 * rows * columns);
      return [site.copy(normed(site), own), ...site.lower({ inputs: [own, site.input(1)] })];
    },
  },
});
