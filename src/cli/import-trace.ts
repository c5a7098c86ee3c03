/** A source of another engine -> a trace: what `import` and the dumped references share. */
import { existsSync, realpathSync } from "node:fs";
import { importRecords, type PlannedImport, planImport } from "../../references/import/import.ts";
import type { Source } from "../../references/import/source.ts";
import { readGgufMetadata } from "../model/gguf-metadata.ts";
import { fileDigest, graphOfArchitecture, type Model } from "../model/model.ts";
import { tokenizerFromMetadata } from "../model/tokenizer.ts";
import { modelFacts } from "../run/model-facts.ts";
import { type CaptureLevel, tapFilter, tapMatcher } from "../trace/capture.ts";
import { InputError } from "../trace/errors.ts";
import type { Manifest } from "../trace/record.ts";
import type { TraceFacts } from "../trace/trace-facts.ts";
import { TraceWriter, vocabularyOf } from "../trace/writer.ts";
import { progressBar } from "./progress.ts";

export interface ImportRun {
  readonly source: Source;
  /** The model that the source ran, where it is at hand: names sizes of axes, weights and pieces of text. */
  readonly model: Model | null;
  readonly map?: string;
  readonly prompt?: string | null;
  readonly output: string;
  readonly capture: CaptureLevel;
  readonly taps?: readonly string[];
  readonly quiet?: boolean;
}

export interface ImportFacts extends TraceFacts {
  readonly ignored: readonly string[];
  readonly unknown: readonly string[];
  readonly replaced: readonly string[];
  readonly leftOut: PlannedImport["leftOut"];
}

/** Imports a source. Throws InputError where names, shapes or files do not fit; nothing is left behind then. */
export async function importTrace(run: ImportRun): Promise<ImportFacts> {
  const started = performance.now();
  const { source, model, output } = run;
  checkTokens(run);
  const wants = tapFilter(run.taps ?? ["*", "weight:*"]);
  const planned = planImport(source, importModel(run), run.map ?? source.names);
  const plan: PlannedImport = { ...planned, records: planned.records.filter((record) => wants(record.plan.tap)) };
  const idle = run.taps?.find((glob) => !planned.records.some(({ plan: { tap } }) => tapMatcher([glob])(tap)));
  if (idle !== undefined || plan.records.length === 0) {
    throw new InputError(
      `no tap of ${source.producer.name} matches ${idle ?? run.taps?.join(",")}; it has ${planned.records[0]?.plan.tap} and ${planned.records.length - 1} more`,
    );
  }
  if (model !== null && existsSync(output) && realpathSync(output) === realpathSync(model.file.path)) {
    throw new InputError(`${output}: is the model itself; choose another place with -o`);
  }
  const writer = new TraceWriter(
    output,
    await manifestOf(run),
    vocabularyOf(plan.records.map((record) => record.plan)),
  );
  const bar = progressBar("importing", "records", run.quiet);
  const generated: number[] = [];
  try {
    for (const record of importRecords(plan, { sketch: run.capture !== "stats", values: true })) {
      if (record.tap === "logits" && record.values !== null)
        generated[record.step] = largestOfLastRow(record.values, record.shape.at(-1) ?? 1);
      writer.write(run.capture === "full" ? record : { ...record, values: null });
      bar.update(writer.count, plan.records.length);
    }
    writer.finish(await manifestOf(run));
  } catch (error) {
    writer.discard();
    throw error;
  } finally {
    bar.stop();
    writer.close();
  }
  return {
    file: output,
    records: writer.count,
    steps: source.steps.length,
    prompt: source.steps[0]?.tokens ?? [],
    generated: generated.filter((id) => id !== undefined),
    device: source.producer.device,
    elapsedMs: performance.now() - started,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
    ignored: planned.ignored,
    unknown: planned.unknown,
    replaced: planned.replaced,
    leftOut: planned.leftOut,
  };
}

/** An id that the model does not have is a sign of another model, or of steps that are not tokens. */
function checkTokens({ source, model }: ImportRun): void {
  if (model === null) return;
  const { vocab } = model.parameters;
  for (const [number, { tokens }] of source.steps.entries()) {
    const outside = tokens.find((id) => id >= vocab);
    if (outside !== undefined) {
      throw new InputError(
        `${source.producer.name}: token id ${outside} of step ${number} is outside the vocabulary of ${model.file.name} (${vocab}); is it the model that ran?`,
      );
    }
  }
}

function importModel({ source, model }: ImportRun) {
  if (model !== null) {
    const { token: _token, key: _key, ...sizes } = model.axes(1, 1);
    return { graph: () => model.graph, weightDims: (name: string) => model.weights.get(name), sizes };
  }
  const { architecture } = source.model;
  const graph = (layers: number) => {
    const nodes = graphOfArchitecture(architecture, layers);
    if (nodes === null) throw new InputError(`architecture ${JSON.stringify(architecture)} is not known; llama is`);
    return nodes;
  };
  return { graph, weightDims: () => undefined, sizes: {} };
}

async function manifestOf({ source, model, prompt }: ImportRun): Promise<Manifest> {
  const piece = pieces(model);
  const { producer, steps } = source;
  const tokens = steps.map((step) => [...step.tokens]);
  return {
    producer: {
      name: producer.name,
      version: producer.version,
      device: producer.device,
      dtype: producer.dtype,
      settings: { ...producer.settings },
    },
    model:
      model === null
        ? {
            file: source.model.file,
            size: null,
            sha256: null,
            architecture: source.model.architecture,
            hyperParameters: {},
            quantisation: null,
          }
        : modelFacts(model, await fileDigest(model.file.path)),
    prompt: prompt ?? source.prompt,
    tokens,
    pieces: tokens.map((step) => step.map(piece)),
    faults: [],
    created: new Date().toISOString(),
  };
}

/** Pieces by the model's tokenizer; ids stand for themselves where there is none. */
function pieces(model: Model | null): (id: number) => string {
  const number = (id: number) => `<${id}>`;
  if (model === null) return number;
  try {
    const tokenizer = tokenizerFromMetadata(readGgufMetadata(model.file.path));
    return (id) => (id < tokenizer.size ? tokenizer.piece(id) : number(id));
  } catch {
    return number;
  }
}

function largestOfLastRow(logits: Float32Array, vocab: number): number {
  const row = logits.subarray(logits.length - vocab);
  let best = 0;
  for (let id = 1; id < row.length; id++) if ((row[id] as number) > (row[best] as number)) best = id;
  return best;
}
