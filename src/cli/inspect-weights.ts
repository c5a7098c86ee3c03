/** The part of `faultline inspect` that decodes the model's weights. */
import { checkModel } from "../compare/audit.ts";
import { type FileWeight, fileWeight, type Recorded, recordedAs } from "../compare/file-weights.ts";
import type { InspectFacts } from "../report/inspect.ts";
import type { WeightFacts } from "../report/inspect-weights.ts";
import { tapMatcher } from "../trace/capture.ts";
import type { RecordSummary, Trace } from "../trace/reader.ts";
import { modelOf } from "./audited.ts";
import { progressBar } from "./progress.ts";

/** Weights of the file that the ops shown read and that globs name (`weight:*`); all of them without globs. Throws InputError where the model is not the trace's. */
export async function weightsOf(
  trace: Trace,
  path: string,
  taps: InspectFacts["taps"],
  globs: string[] | null,
  quiet: boolean | undefined,
): Promise<WeightFacts> {
  const model = await modelOf(trace, path);
  const bar = progressBar("decoding", "weights", quiet);
  try {
    await checkModel(model, trace);
    const { file } = model;
    const shown = new Set(taps.map(({ tap }) => tap));
    const readers = model.graph.filter(({ op }) => shown.has(op.tap));
    const readBy = new Map(readers.map(({ op }) => [op.tap, op.weights]));
    const isRead = new Set([...readBy.values()].flat());
    const isNamed = tapMatcher(globs ?? ["*"]);
    const names = [...model.weights.keys()].filter((name) => isRead.has(name) || isNamed(`weight:${name}`));
    const traced = new Map(trace.records.map((record) => [record.tap, record]));
    const weights: FileWeight[] = [];
    const recorded = new Map<string, { record: RecordSummary; as: Recorded }>();
    for (const [done, name] of names.entries()) {
      bar.update(done, names.length);
      const weight = fileWeight(file, name);
      const record = traced.get(`weight:${name}`);
      weights.push(weight);
      if (record !== undefined) recorded.set(name, { record, as: recordedAs(file, weight, record) });
    }
    return { file: file.name, weights, isAll: globs === null, readBy, recorded };
  } finally {
    bar.stop();
    model.file.close();
  }
}
