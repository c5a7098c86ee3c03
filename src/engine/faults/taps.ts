/** What a fault of the table says of itself, before any model. */
import type { OpKind } from "../../model/ops.ts";
import type { FaultKind } from "./fault.ts";

/** Names of the taps of each kind of op. */
const TAPS: Readonly<Record<OpKind, string>> = {
  embed: "embed",
  rms_norm: "*norm",
  linear: "projections",
  rope: "q_rope, k_rope",
  attn_scores: "attn_scores",
  causal_softmax: "attn_probs",
  attn_ctx: "attn_ctx",
  swiglu: "ffn_act",
  add: "attn_residual, output",
};

export interface FaultFacts {
  readonly id: string;
  /** Where it can be planted, for people. */
  readonly taps: string;
  /** Where it is planted unless a tap is given. */
  readonly usual: string;
  /** What may follow a colon, or null. */
  readonly parameter: string | null;
  readonly what: string;
}

export function faultRow({ id, kinds, names, at, parameter, what }: FaultKind): FaultFacts {
  const any = kinds.length === Object.keys(TAPS).length;
  const taps = names?.join(", ") ?? (any ? "any" : kinds.map((kind) => TAPS[kind]).join(", "));
  return { id, taps: kinds.length === 0 ? at : taps, usual: at, parameter: parameter?.name ?? null, what };
}
