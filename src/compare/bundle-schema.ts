/** `bundle.json`: what a repro bundle says of its op, beside the tensors. Documented in docs/bundles.md. */
import { z } from "zod";
import { BLOCK_TYPES } from "../model/blocks.ts";
import { manifestSchema } from "../trace/record.ts";

export const BUNDLE_SCHEMA = "faultline.bundle/1";

const count = z.number().int().positive();
const index = z.number().int().nonnegative();
const file = z.string().regex(/^[a-z0-9-]+\.npy$/, "a name like input-0.npy is needed");

const common = { tap: z.string(), dims: z.string(), weights: z.array(z.string()) };
const heads = { heads: count, kvHeads: count, headDim: count };
const opSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("embed"), ...common }),
  z.object({ kind: z.literal("rms_norm"), ...common, eps: z.number() }),
  z.object({ kind: z.literal("linear"), ...common }),
  z.object({ kind: z.literal("rope"), ...common, headDim: count }),
  z.object({ kind: z.literal("attn_scores"), ...common, ...heads, scale: z.number() }),
  z.object({ kind: z.literal("causal_softmax"), ...common }),
  z.object({ kind: z.literal("attn_ctx"), ...common, ...heads }),
  z.object({ kind: z.literal("swiglu"), ...common }),
  z.object({ kind: z.literal("add"), ...common }),
]);

const scalingSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("none") }),
  z.object({ type: z.literal("linear"), factor: z.number() }),
  z.object({
    type: z.literal("yarn"),
    factor: z.number(),
    originalContext: z.number(),
    betaFast: z.number(),
    betaSlow: z.number(),
    attentionFactor: z.number(),
  }),
]);

/** Longest head and last position that are believed: tables of angles are made for them. */
const LONGEST_HEAD = 1 << 16;
const LAST_POSITION = 1 << 24;

const parametersSchema = z
  .object({
    ...{ layers: count, embd: count, heads: count, kvHeads: count, headDim: count.max(LONGEST_HEAD) },
    ...{ ffn: count, vocab: count, context: count, eps: z.number() },
    rope: z.object({
      base: z.number().positive(),
      dimensions: count.multipleOf(2),
      scaling: scalingSchema,
      /** File of the frequencies' divisors, f4, one a pair of a head. */
      factors: file.nullable(),
    }),
  })
  .refine(({ rope, headDim }) => rope.dimensions === headDim, "rope.dimensions is not headDim")
  .refine(({ heads: all, kvHeads }) => all % kvHeads === 0, "heads are no multiple of kvHeads");

export const bundleSchema = z.object({
  schema: z.literal(BUNDLE_SCHEMA),
  op: opSchema,
  /** What the output is stored in. */
  dtype: z.string(),
  /** Token ids of the op's rows, and the position of the first. */
  tokens: z.array(index).nonempty(),
  posStart: index.max(LAST_POSITION),
  /** In the order that the kind defines. `cached`: the rows of all positions up to now. f4. */
  inputs: z.array(z.object({ tap: z.string(), dims: z.string(), cached: z.boolean(), file })),
  /** u1: rows of GGUF blocks as they stand in the file. `rows`: which rows these are; null for all. */
  weights: z.array(
    z.object({
      name: z.string(),
      dims: z.string(),
      type: z.enum(BLOCK_TYPES.map(({ name }) => name)),
      rows: z.array(index).nullable(),
      file,
    }),
  ),
  /** f8, f8, f4: what the op should give, how far a right computation may be off, what it gave. */
  expected: file,
  allowed: file,
  actual: file,
  /** Of the model, for the sizes of axes and the rotation. */
  parameters: parametersSchema,
  provenance: z.object({
    model: z.object({ file: z.string(), sha256: z.string(), architecture: z.string() }),
    /** Who computed the actual output, and how: bounds follow from its settings. */
    producer: manifestSchema.shape.producer,
    faults: z.array(z.string()),
    step: index,
    /** What the audit said; null stands for a number that is not finite. */
    verdict: z.enum(["clean", "suspicious", "likely", "proved"]),
    relative_error: z.number().nullable(),
    diagnosis: z.string().nullable(),
  }),
});
export type BundleFacts = z.infer<typeof bundleSchema>;
