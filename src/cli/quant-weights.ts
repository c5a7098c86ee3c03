/** The weights that the kernels decode beside ggml's, and what differs in those that differ. */
import { join } from "node:path";
import { decodedHashes, decodedValues } from "../../references/llamacpp/decode.ts";
import type { QuantisedModel } from "../compare/quantisation.ts";
import { recordedWeights, weightAgreement } from "../compare/weight-check.ts";
import { type WeightDifference, weightDifference } from "../compare/weight-difference.ts";
import type { Fault } from "../engine/faults/fault.ts";
import type { Model } from "../model/model.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import type { EngineOptions } from "../run/options.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { traced } from "./traced.ts";

export interface WeightCheckRun {
  readonly model: Model;
  readonly faults: readonly Fault[];
  /** With the taps weight:*. */
  readonly trace: string;
  readonly llamaCpp: { readonly llamaCpp?: string };
  readonly run: {
    readonly tokenizer: Tokenizer;
    readonly engine: EngineOptions;
    readonly folder: string;
    readonly version: string;
  };
}

/** Differing tensors that are looked into. */
const LOOKED_INTO = 3;

/** Null with the reason where ggml's decoders are not at hand. */
export async function checkWeights(check: WeightCheckRun): Promise<Pick<QuantisedModel, "weights" | "weightsLeftOut">> {
  const trace = await Trace.open(check.trace);
  try {
    const independent = await decodedHashes(check.model.file.path, check.llamaCpp);
    const agreement = weightAgreement(recordedWeights(trace.records), independent);
    const differences: WeightDifference[] = [];
    for (const name of agreement.differing.slice(0, LOOKED_INTO)) differences.push(await differenceOf(check, name));
    return { weights: { agreement, differences }, weightsLeftOut: null };
  } catch (error) {
    if (error instanceof InputError) return { weights: null, weightsLeftOut: error.message };
    throw error;
  } finally {
    await trace.close();
  }
}

/** One tensor's values by all three decoders. */
async function differenceOf({ model, faults, llamaCpp, run }: WeightCheckRun, name: string): Promise<WeightDifference> {
  const { tokenizer, engine, folder, version } = run;
  const output = join(folder, "weight.arrow");
  const prompt = { text: null, tokens: [0] };
  const taps = [`weight:${name}`];
  await traced({
    ...{ model, tokenizer, prompt, steps: 0, output, capture: "full", taps, engine, version, faults, quiet: true },
  });
  const trace = await Trace.open(output);
  try {
    const { type, columns, ...tensor } = model.file.tensor(name);
    const voices = {
      engine: await trace.values(0),
      independent: await decodedValues(model.file.path, name, llamaCpp),
      own: model.file.decodeRows({ ...tensor, type, columns }),
    };
    return weightDifference(name, type, columns, voices);
  } finally {
    await trace.close();
  }
}
