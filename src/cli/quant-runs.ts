/** What `quant` runs of one file: every op on the engine and in the oracle, the weights that the kernels decode, the logits of a text. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Fault } from "../engine/faults/fault.ts";
import type { Model } from "../model/model.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { openEngine } from "./engine.ts";
import type { EngineOptions } from "./options.ts";
import { type TraceRun, traceModel } from "./trace-model.ts";

export interface QuantRun {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** Tokens whose every op is recorded, and those whose logits are. */
  readonly tokens: readonly number[];
  readonly text: readonly number[];
  readonly engine: EngineOptions;
  readonly faults: readonly Fault[];
  readonly folder: string;
  readonly version: string;
  readonly quiet?: boolean;
}

/** Paths of the traces. */
export interface QuantTraces {
  readonly engine: string;
  readonly oracle: string;
  readonly weights: string;
  readonly logits: string;
}

/** Makes the four traces in `folder`. */
export async function traceQuantised(run: QuantRun): Promise<QuantTraces> {
  const { model, tokenizer, tokens, text, engine: options, faults, folder, version, quiet } = run;
  mkdirSync(folder, { recursive: true });
  const path = (name: string) => join(folder, `${name}.arrow`);
  const common = { model, tokenizer, steps: 0, version, ...(quiet === undefined ? {} : { quiet }) };
  const longest = Math.max(tokens.length, text.length);
  const engine = await openEngine(model, options, { capacity: longest, longestStep: longest }, quiet, faults);
  try {
    const trace = (name: string, ids: readonly number[], more: Pick<TraceRun, "capture" | "taps">) =>
      traceModel({
        ...{ ...common, ...more, engine: options, faults, output: path(name) },
        prompt: { text: null, tokens: ids },
        open: async () => ({ ...engine, close: () => {} }),
      });
    await trace("engine", tokens, { capture: "full", taps: ["!rope.*"] });
    await trace("weights", [tokens[0] ?? 0], { capture: "stats", taps: ["weight:*"] });
    await trace("logits", text, { capture: "full", taps: ["logits"] });
  } finally {
    await engine.close();
  }
  await traceModel({
    ...{ ...common, capture: "full", taps: ["!rope.*"], output: path("oracle"), label: "oracle" },
    prompt: { text: null, tokens },
    engine: { device: "oracle", dtype: "f32", kvCache: true },
  });
  return { engine: path("engine"), oracle: path("oracle"), weights: path("weights"), logits: path("logits") };
}
