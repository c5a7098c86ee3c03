/** Where an element of a tensor stands, in the words of its axes. */
import { z } from "zod";
import { parseDims } from "../trace/dims.ts";
import type { Manifest } from "../trace/record.ts";
import { visible } from "./numbers.ts";

export const elementSchema = z.object({
  /** Absolute position of the token, and its text. */
  position: z.number().int(),
  piece: z.string().nullable(),
  head: z.number().int().nullable(),
  /** head_dim where the row has heads, else key or channel. */
  column: z.number().int(),
  expected: z.number().nullable(),
  actual: z.number().nullable(),
});

/** What must be known of the tensor and its run. */
export interface Placed {
  readonly step: number;
  readonly posStart: number;
  readonly dims: string;
  readonly shape: readonly number[];
}

/** The place of a flat row-major index. `headDim` splits merged axes like `(head head_dim)`. */
export function elementPlace({ step, posStart, dims, shape }: Placed, index: number, manifest: Manifest) {
  const axes = parseDims(dims);
  const columns = shape.at(-1) ?? 1;
  const row = Math.floor(index / columns);
  const column = index % columns;
  const tokens = shape[axes.findIndex((axis) => axis.includes("token"))] ?? 1;
  const token = row % tokens;
  const piece = manifest.pieces[step]?.[token] ?? null;
  const headDim = Number(manifest.model.hyperParameters.headDim ?? 0);
  const at = { position: posStart + token, piece };
  if (axes[0]?.[0] === "head") return { ...at, head: Math.floor(row / tokens), column };
  if (axes.at(-1)?.at(-1) !== "head_dim" || headDim === 0) return { ...at, head: null, column };
  return { ...at, head: Math.floor(column / headDim), column: column % headDim };
}

/** `position 3 " God", head 0, column 1`. */
export function placeWords({ position, piece, head, column }: ReturnType<typeof elementPlace>): string {
  const token = piece === null ? "" : ` "${visible(piece)}"`;
  return `position ${position}${token}${head === null ? "" : `, head ${head}`}, column ${column}`;
}
