/** What `quant` finds of the base and of each file held against it: runs, their differences, the weights, the text. */
import { basename, join } from "node:path";
import { fallenBack } from "../../references/llamacpp/quantize.ts";
import { engineFirst, type QuantisedModel, splitErrors, textQuality } from "../compare/quantisation.ts";
import type { Fault } from "../engine/faults/fault.ts";
import { parseFaults } from "../engine/faults/parse.ts";
import { type Model, openModel } from "../model/model.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import type { EngineOptions } from "../run/options.ts";
import { rowsAndColumns } from "../trace/dims.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { audited } from "./audited.ts";
import { underway } from "./progress.ts";
import { type QuantTraces, traceQuantised } from "./quant-runs.ts";
import { checkWeights } from "./quant-weights.ts";

/** A file of the model, and the type it was made for; null for one that was given. */
export interface Candidate {
  readonly path: string;
  readonly type: string | null;
}

export interface QuantSettings {
  readonly base: Model;
  readonly tokenizer: Tokenizer;
  /** Tokens whose every op is split, and the text that is predicted. */
  readonly tokens: readonly number[];
  readonly text: readonly number[];
  readonly engine: EngineOptions;
  /** Every op is proved, not only the one that differs. */
  readonly audit: boolean;
  readonly folder: string;
  readonly version: string;
  readonly quiet?: boolean;
  readonly llamaCpp: { readonly llamaCpp?: string };
}

/** Faults that one step over given tokens cannot show, and why. */
const UNSEEN: readonly (readonly [RegExp, string])[] = [
  [/^(kv\.|rope\.position-zero)/, "decode steps show it, and quant runs one step; give it to kv"],
  [/^token\./, "quant runs all files over the same tokens; give it to trace, then tokens --against"],
];

/** Folder of the base's traces. */
export const BASE = "base";

/** Runs of one base and the files held against it. */
export class QuantJudge {
  readonly #settings: QuantSettings;
  #base: QuantTraces | undefined;
  readonly #folders = new Set([BASE]);
  #planted = 0;
  #refusal: InputError | undefined;

  constructor(settings: QuantSettings) {
    this.#settings = settings;
  }

  /** The base by itself: its engine is judged, and its runs are what the others are held against. Faults are planted in those only. */
  async base(): Promise<QuantisedModel> {
    const { base } = this.#settings;
    this.#base = await this.#trace(base, BASE, []);
    return this.#facts(base, { path: base.file.path, type: null }, this.#base, { faults: [], notPlanted: [] });
  }

  async judge(candidate: Candidate): Promise<QuantisedModel> {
    const model = await openModel(candidate.path);
    try {
      const planted = this.#plant(model);
      const traces = await this.#trace(model, this.#folderOf(candidate), planted.faults);
      return await this.#facts(model, candidate, traces, planted);
    } finally {
      model.file.close();
    }
  }

  /** A folder for each: files of one name, or one that is called as the base's is, would else overwrite what others are held against. */
  #folderOf({ path, type }: Candidate): string {
    const name = type ?? basename(path, ".gguf");
    let unique = name;
    for (let n = 2; this.#folders.has(unique.toLowerCase()); n++) unique = `${name}-${n}`;
    this.#folders.add(unique.toLowerCase());
    return unique;
  }

  /** Throws InputError where faults were asked for and none could be planted in any file. */
  checkPlanted(): void {
    if (this.#planted === 0 && this.#refusal !== undefined) throw this.#refusal;
  }

  /** Faults that this file can have: a type's decoder has not every fault of another's. */
  #plant(model: Model): { faults: Fault[]; notPlanted: string[] } {
    const { engine } = this.#settings;
    const faults: Fault[] = [];
    const notPlanted: string[] = [];
    for (const text of engine.fault ?? []) {
      try {
        const parsed = parseFaults([text], model, engine);
        const reason = UNSEEN.find(([pattern]) => pattern.test(text))?.[1];
        if (reason !== undefined) throw new InputError(`${text} would change nothing: ${reason}`);
        faults.push(...parsed);
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        this.#refusal = error;
        notPlanted.push(error.message);
      }
    }
    this.#planted += faults.length;
    return { faults, notPlanted };
  }

  #trace(model: Model, name: string, faults: readonly Fault[]): Promise<QuantTraces> {
    const { tokenizer, tokens, text, engine, folder, version, quiet } = this.#settings;
    return traceQuantised({
      ...{ model, tokenizer, tokens, text, engine, faults, folder: join(folder, name), version },
      ...(quiet === undefined ? {} : { quiet }),
    });
  }

  async #facts(
    model: Model,
    { path, type }: Candidate,
    traces: QuantTraces,
    { faults, notPlanted }: { readonly faults: readonly Fault[]; readonly notPlanted: readonly string[] },
  ): Promise<QuantisedModel> {
    const base = this.#base ?? traces;
    const { text, llamaCpp, quiet } = this.#settings;
    const elements = [...model.file.tensors.values()].reduce((sum, { rows, columns }) => sum + rows * columns, 0);
    return {
      ...{ name: type ?? basename(path, ".gguf"), file: model.file.name, bytes: model.file.size },
      bitsPerWeight: (8 * model.file.size) / elements,
      fallen: type === null ? [] : fallenBack(model.file, type),
      ...(await this.#split(model, base, traces)),
      ...(await underway("weights", quiet, () =>
        checkWeights({ model, faults, trace: traces.weights, llamaCpp, run: this.#settings }),
      )),
      text: textQuality(await logitRows(base.logits), await logitRows(traces.logits), text),
      notPlanted,
    };
  }

  async #split(
    model: Model,
    base: QuantTraces,
    traces: QuantTraces,
  ): Promise<Pick<QuantisedModel, "ops" | "first" | "faults">> {
    const { audit, quiet } = this.#settings;
    const reference = await Trace.open(base.oracle);
    const oracle = await Trace.open(traces.oracle);
    const engine = await Trace.open(traces.engine);
    try {
      const { ops, judged } = await underway("splitting", quiet, () =>
        splitErrors({ base: reference, oracle, engine }),
      );
      const origins = new Set(judged.ops.filter(({ isOrigin }) => isOrigin).map(({ tap }) => tap));
      const wants = audit ? () => true : (tap: string) => origins.has(tap);
      const { faults } = audit || origins.size > 0 ? await audited(model, engine, quiet, { wants }) : { faults: [] };
      return { ops, first: engineFirst(judged), faults };
    } finally {
      for (const trace of [reference, oracle, engine]) await trace.close();
    }
  }
}

/** Rows of logits of a trace's only step. */
async function logitRows(path: string): Promise<Float32Array[]> {
  const trace = await Trace.open(path);
  try {
    const index = trace.records.findIndex(({ tap }) => tap === "logits");
    const values = await trace.values(index);
    const { rows, columns } = rowsAndColumns(trace.records[index]?.shape ?? []);
    return Array.from({ length: rows }, (_, row) => values.subarray(row * columns, (row + 1) * columns));
  } finally {
    await trace.close();
  }
}
