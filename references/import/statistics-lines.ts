/** JSON lines of statistics -> a source: one tensor a line, after a header line that has the facts of dump.json. */
import { basename, dirname } from "node:path";
import { z } from "zod";
import { elementsOf } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";
import { readText } from "../../src/trace/files.ts";
import type { Statistics } from "../../src/trace/statistics.ts";
import { dtypeSchema } from "../dump-schema.ts";
import { knownStatistics, type Source, type SourceOptions, type SourceTensor } from "./source.ts";
import { checkStep, parseBy, parseJson, sourceFacts } from "./source-facts.ts";

/** Sizes beyond any tensor; what is larger is damage. */
const size = z
  .number()
  .int()
  .nonnegative()
  .max(2 ** 24);
const count = z.number().int().nonnegative();
/** JSON has no NaN: null stands for what is not known or not finite. */
const figure = z
  .number()
  .nullish()
  .transform((value) => value ?? Number.NaN);

const lineSchema = z.strictObject({
  step: count.default(0),
  name: z.string().min(1),
  op: z.string().default(""),
  weight: z.string().default(""),
  shape: z.array(size),
  dtype: dtypeSchema.optional(),
  mean: figure,
  rms: figure,
  min: figure,
  max: figure,
  max_abs: figure,
  nan_count: count.default(0),
  inf_count: count.default(0),
  zero_count: count.default(0),
});
type Line = z.infer<typeof lineSchema>;

const headerSchema = z.looseObject({ faultline_statistics: z.literal(1) });

/** Opens a file. Throws InputError that names the line. */
export function readStatisticsLines(path: string, options: SourceOptions = {}): Source {
  const lines = readText(path, "give a .jsonl file")
    .split("\n")
    .map((text, index) => ({ text, where: `${path}: line ${index + 1}` }))
    .filter(({ text }) => text.trim() !== "")
    .map(({ text, where }) => ({ where, value: parseJson(text, where) }));
  const [first] = lines;
  if (first === undefined) throw new InputError(`${path}: has no line`);
  const { faultline_statistics: _version, ...said } = isHeader(first.value)
    ? parseBy(headerSchema, first.value, first.where, "header")
    : {};
  const isHeaded = isHeader(first.value);
  const producer = { name: basename(path) };
  const facts = sourceFacts({ producer, ...said }, isHeaded ? first.where : path, dirname(path), options);
  const tensors = lines.slice(isHeaded ? 1 : 0).map(({ where, value }): SourceTensor => {
    const line = parseBy(lineSchema, value, where, "line");
    checkStep(`${where} (${line.name})`, line.step, facts.steps);
    const { step, name, op, weight, shape } = line;
    const statistics = statisticsOfLine(line, where);
    return { step, name, op, weight, shape, dtype: line.dtype ?? facts.producer.dtype, where, content: statistics };
  });
  if (tensors.length === 0) throw new InputError(`${path}: has a header and no tensor; write one line for each`);
  return { ...facts, tensors, leftOut: [] };
}

function isHeader(value: unknown): value is object {
  return typeof value === "object" && value !== null && "faultline_statistics" in value;
}

function statisticsOfLine(line: Line, where: string) {
  const { shape, mean, rms, min, max } = line;
  const elements = elementsOf(shape);
  const [nanCount, infCount, zeroCount] = [line.nan_count, line.inf_count, line.zero_count];
  const bad = (why: string) => new InputError(`${where}: ${line.name} of shape [${shape.join(", ")}] ${why}`);
  if (elements >= 2 ** 32) throw bad(`has ${elements} elements; 4294967295 are the most`);
  if (nanCount + infCount + zeroCount > elements)
    throw bad(`has ${nanCount} NaN, ${infCount} Inf and ${zeroCount} zeros, but ${elements} elements`);
  if (rms < 0 || line.max_abs < 0 || min > max || Math.abs(mean) > rms * 1.001)
    throw bad("has statistics that contradict one another (rms >= |mean|, max >= min, none negative)");
  // The larger of two extremes that are known is the largest magnitude.
  const maxAbs = Number.isNaN(line.max_abs) ? Math.max(Math.abs(min), Math.abs(max)) : line.max_abs;
  const known: Partial<Statistics> = { mean, rms, min, max, maxAbs, nanCount, infCount, zeroCount };
  return knownStatistics(elements, known);
}
