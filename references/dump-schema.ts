/** `dump.json`: what a dump folder says of itself. One `.npy` file a tensor lies beside it. docs/writing-a-dumper.md tells how to write one. */
import { z } from "zod";

const index = z.number().int().nonnegative();
/** What an engine may have computed and stored in: the names whose rounding a comparison knows. */
export const DTYPES = ["f32", "f16", "bf16", "f64", "q8_0", "q8_1", "q8_k"] as const;
export const dtypeSchema = z.enum(DTYPES);

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);

/** One tensor that the engine had in its hands. */
export const dumpTensorSchema = z
  .strictObject({
    /** Execution order; the order of the list where absent. */
    seq: index.optional(),
    /** Index into `steps`. */
    step: index.default(0),
    /** The engine's own name of it. */
    name: z.string().min(1),
    /** The engine's own name of the operation: tells apart what shares a name. */
    op: z.string().default(""),
    /** The weight it was made with, where there is one: the surest key of all. */
    weight: z.string().default(""),
    /** Path of the .npy file inside the folder. */
    file: z.string().min(1),
    /** What the engine computed and stored it in: f32, f16, bf16, or for quantised activations q8_0, q8_1, q8_k. */
    dtype: z.string().optional(),
  })
  .refine(
    ({ name, dtype }) => dtype === undefined || name.startsWith("weight:") || DTYPES.some((each) => each === dtype),
    {
      path: ["dtype"],
      message: `expected one of ${DTYPES.join(", ")}; a weight may name its block type`,
    },
  );
export type DumpTensor = z.infer<typeof dumpTensorSchema>;

export const dumpSchema = z.strictObject({
  faultline_dump: z.literal(1),
  producer: z.looseObject({
    name: z.string(),
    version: z.string().default(""),
    device: z.string().default("cpu"),
    dtype: dtypeSchema.default("f32"),
    settings: z.record(z.string(), scalar).default({}),
  }),
  /** `canonical`, `llama.cpp`, `hf-llama`, or the path of a map file, from the folder. */
  names: z.string().default("canonical"),
  model: z.looseObject({ file: z.string().default(""), architecture: z.string().default("llama") }).prefault({}),
  prompt: z.string().nullable().default(null),
  /** Every forward pass: the position of its first token, and its tokens. */
  steps: z.array(z.strictObject({ pos_start: index, tokens: z.array(index).min(1) })).min(1),
  tensors: z.array(dumpTensorSchema).min(1),
});
export type Dump = z.infer<typeof dumpSchema>;
