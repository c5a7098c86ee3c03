/** What `quant` runs of one file: every op on the engine and in the oracle, the weights that the kernels decode, the logits of a text. */
import { join } from "node:path";
import { runProgram } from "../../references/program.ts";
import type { Fault } from "../engine/faults/fault.ts";
import type { Model } from "../model/model.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { openEngine } from "../run/engine.ts";
import type { EngineOptions } from "../run/options.ts";
import type { TraceRun } from "../run/trace-model.ts";
import { madeFolder } from "./folders.ts";
import { onTerminal, underway } from "./progress.ts";
import { traced } from "./traced.ts";

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

/** Makes the four traces in `folder`. The oracle is busy on one core and the engine waits for its adapter, so they run side by side. */
export async function traceQuantised(run: QuantRun): Promise<QuantTraces> {
  const { folder } = run;
  madeFolder(folder);
  const path = (name: string) => join(folder, `${name}.arrow`);
  const oracle = traceOracle(run, path("oracle"));
  await Promise.all([oracle, traceEngine(run, path).then(() => underway("oracle", run.quiet, () => oracle))]);
  return { engine: path("engine"), oracle: path("oracle"), weights: path("weights"), logits: path("logits") };
}

/** In a process of its own: `faultline trace --device oracle`, by this same program. */
async function traceOracle({ model, tokens }: QuantRun, output: string): Promise<void> {
  const [, program = ""] = process.argv;
  const layers = model.layers.length === model.parameters.layers ? [] : ["--layers", model.layers.join(",")];
  await runProgram("oracle", process.execPath, [
    ...[...process.execArgv, program, "trace", model.file.path, "--device", "oracle", "--tokens", tokens.join(",")],
    ...["-n", "0", "--capture", "full", "--taps", "!rope.*", "-o", output, "--quiet", ...layers],
  ]);
}

async function traceEngine(run: QuantRun, path: (name: string) => string): Promise<void> {
  const { model, tokenizer, tokens, text, engine: options, faults, version, quiet } = run;
  const common = { model, tokenizer, steps: 0, version, ...(quiet === undefined ? {} : { quiet }) };
  const longest = Math.max(tokens.length, text.length);
  const engine = await openEngine(
    model,
    options,
    { capacity: longest, longestStep: longest },
    onTerminal(quiet),
    faults,
  );
  try {
    const trace = (name: string, ids: readonly number[], more: Pick<TraceRun, "capture" | "taps">) =>
      traced({
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
}
