/** The grammar of tap names: `embed`, `blk.3.attn_norm`, `logits`, `rope.cos`, `weight:blk.3.attn_q.weight`. */

/** The layer a tap belongs to, or null for taps outside the layers. Weight taps belong to the layer their tensor names. */
export function layerOfTap(tap: string): number | null {
  const match = /^(?:weight:)?blk\.(\d+)\./.exec(tap);
  return match ? Number(match[1]) : null;
}

/** The name of the tap inside its layer (`attn_norm`), or the whole name where there is no layer. */
export function nameInLayer(tap: string): string {
  return tap.replace(/^blk\.\d+\./, "");
}

/** The tap `name` of layer `layer`. */
export function layerTap(layer: number, name: string): string {
  return `blk.${layer}.${name}`;
}

/** True for the residual stream: `embed` and the output of each layer. */
export function isResidualStream(tap: string): boolean {
  return tap === "embed" || (layerOfTap(tap) !== null && nameInLayer(tap) === "output");
}
