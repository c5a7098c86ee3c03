/** Models that are measured, by name or path, as they are or quantised by llama.cpp's own quantiser. */
import { basename, join } from "node:path";
import { quantizeModel } from "../../references/llamacpp/dump.ts";
import { fallenBack } from "../../references/llamacpp/quantize.ts";
import { openModel } from "../../src/model/model.ts";
import { writeGguf } from "../../test/support/gguf-builder.ts";
import { syntheticLlama } from "../../test/support/synthetic-llama.ts";
import { MODELS } from "./places.ts";
import type { Work } from "./protocol.ts";

export interface Subject {
  readonly title: string;
  readonly work: Work;
}

/** TinyLlama's shape with random weights: for speed on a GPU where no model was carried. */
const RANDOM = "random-1.1b";
const SHAPE = { embd: 2048, heads: 32, kvHeads: 4, ffn: 5632, layers: 22, vocab: 32_000, context: 2048, untied: true };

/** `smollm2`, `embedded:Q4_K`, `random-1.1b` (Q4_0 unless told), `PATH`, `PATH:Q8_0`. What is made lies in `folder`. Throws InputError where it cannot be had. */
export async function subjectOf(
  spec: string,
  sizes: { prompt: number; steps: number },
  folder: string,
): Promise<Subject> {
  const [, name = spec, type] = /^(.*?)(?::([A-Z][A-Z0-9_]+))?$/.exec(spec) ?? [];
  const random = name === RANDOM;
  const given = MODELS[name] ?? name;
  const made = join(folder, `${basename(given, ".gguf")}.${type ?? "Q4_0"}.gguf`);
  const path = random || type !== undefined ? made : given;
  if (random) writeGguf(made, syntheticLlama({ ...SHAPE, type: type ?? "Q4_0" }));
  else if (type !== undefined) await quantizeModel(given, made, type);
  const model = await openModel(path);
  const { vocab } = model.parameters;
  const fallen = random || type === undefined ? [] : fallenBack(model.file, type);
  model.file.close();
  const token = (i: number) => (((i * 7919) % 40_000) + 20) % vocab;
  const tokens = Array.from({ length: sizes.prompt + sizes.steps }, (_, i) => token(i));
  const but = fallen.length === 0 ? "" : ` (${fallen.length} matrices in other types: their rows do not divide)`;
  return {
    title: `${basename(path)}${but}`,
    work: { model: path, prompt: tokens.slice(0, sizes.prompt), decode: tokens.slice(sizes.prompt) },
  };
}
