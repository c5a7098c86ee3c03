/** Models that are measured, by name or path, as they are or quantised by llama.cpp's own quantiser. */
import { basename, join } from "node:path";
import { quantizeModel } from "../../references/llamacpp/dump.ts";
import { fallenBack } from "../../references/llamacpp/quantize.ts";
import { openModel } from "../../src/model/model.ts";
import { MODELS } from "./places.ts";
import type { Work } from "./protocol.ts";

export interface Subject {
  readonly title: string;
  readonly work: Work;
}

/** `smollm2`, `embedded:Q4_K`, `PATH`, `PATH:Q8_0`. What is made lies in `folder`. Throws InputError where it cannot be had. */
export async function subjectOf(
  spec: string,
  sizes: { prompt: number; steps: number },
  folder: string,
): Promise<Subject> {
  const [, name = spec, type] = /^(.*?)(?::([A-Z][A-Z0-9_]+))?$/.exec(spec) ?? [];
  const given = MODELS[name] ?? name;
  const path = type === undefined ? given : join(folder, `${basename(given, ".gguf")}.${type}.gguf`);
  if (type !== undefined) await quantizeModel(given, path, type);
  const model = await openModel(path);
  const { vocab } = model.parameters;
  const fallen = type === undefined ? [] : fallenBack(model.file, type);
  model.file.close();
  const token = (i: number) => (((i * 7919) % 40_000) + 20) % vocab;
  const tokens = Array.from({ length: sizes.prompt + sizes.steps }, (_, i) => token(i));
  const but = fallen.length === 0 ? "" : ` (${fallen.length} matrices in other types: their rows do not divide)`;
  return {
    title: `${basename(path)}${but}`,
    work: { model: path, prompt: tokens.slice(0, sizes.prompt), decode: tokens.slice(sizes.prompt) },
  };
}
