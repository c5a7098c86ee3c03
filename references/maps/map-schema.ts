/**
 * A map translates an engine's own names and layouts to taps. A rule says which tensors it takes (`name`, and where names repeat
 * `op` or `weight`; `{N}` stands for the layer's number, `*` for anything) and what they are (`tap`, `axes` and the rest).
 */
import { z } from "zod";

export const mapRuleSchema = z.strictObject({
  name: z.string().min(1),
  op: z.string().optional(),
  weight: z.string().optional(),
  /** The tap, with `{N}` for the layer. */
  tap: z.string().min(1),
  /** Axes of the array, slowest first, e.g. `head token head_dim`; the tap's own dims where absent. Leading axes of size 1 may be left out. */
  axes: z.string().optional(),
  /** head_dim is in the order of a rotation by halves (j, j + head_dim/2); taps have neighbours (2j, 2j+1). */
  halves: z.literal(true).optional(),
  /** The key axis is longer than the keys there are; the rest is cut off. */
  padded: z.literal(true).optional(),
  /** The array is to be multiplied by 1/sqrt(head_dim) to be the tap. */
  unscaled: z.literal(true).optional(),
  /** Takes the place of an earlier tensor of the same tap (a bias added under the same name). */
  overrides: z.literal(true).optional(),
});
export type MapRule = z.infer<typeof mapRuleSchema>;

export const mapSchema = z.strictObject({
  faultline_map: z.literal(1),
  rules: z.array(mapRuleSchema).min(1),
  /** Names that are known and are no taps. */
  ignore: z.array(z.string().min(1)).default([]),
});
export type NameMap = z.infer<typeof mapSchema>;
