/** What a source says of itself, in the fields of dump.json (dump-schema.ts), and what the user adds: checked in one place. */
import { join } from "node:path";
import type { z } from "zod";
import { InputError } from "../../src/trace/errors.ts";
import { firstIssue } from "../../src/trace/schema-issue.ts";
import { type Dump, dumpSchema } from "../dump-schema.ts";
import { BUILT_IN_MAPS } from "../maps/name-map.ts";
import type { SourceFacts, SourceOptions } from "./source.ts";

export const HELP = "see docs/writing-a-dumper.md";

/** dump.json without its tensors. */
const factsSchema = dumpSchema.omit({ faultline_dump: true, tensors: true }).partial({ steps: true, producer: true });

/** Checks a value by a schema. Throws InputError with the first thing that is wrong. */
export function parseBy<T extends z.ZodType>(schema: T, value: unknown, where: string, what: string): z.infer<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new InputError(`${where}: ${firstIssue(parsed.error, what)}; ${HELP}`);
}

/** Parses JSON. Throws InputError. */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`${where}: not JSON (${(error as Error).message}); was it written to its end?`);
  }
}

/** The facts of a source that may leave out its tokens or its producer. `folder`: where a map file is named from. */
export function sourceFacts(value: unknown, where: string, folder: string, options: SourceOptions): SourceFacts {
  const facts = parseBy(factsSchema, value, where, "facts");
  const { names, model, prompt } = facts;
  const producer = facts.producer ?? { name: "unknown", version: "", device: "cpu", dtype: "f32", settings: {} };
  const steps = facts.steps ?? stepsOfTokens(options.tokens);
  if (facts.steps !== undefined && options.tokens !== undefined) throw saysItsTokens(where);
  if (steps === undefined) {
    throw new InputError(`${where}: does not say which tokens ran; give them with --tokens, e.g. "1,15043;29991"`);
  }
  checkPositions(where, steps);
  return { producer, names: mapPath(names, folder), model, prompt, steps };
}

export function saysItsTokens(where: string): InputError {
  return new InputError(`${where}: says itself which tokens ran; leave out --tokens`);
}

/** Steps that follow one another from position 0 on. */
export function stepsOfTokens(tokens: SourceOptions["tokens"]): Dump["steps"] | undefined {
  let end = 0;
  return tokens?.map((step) => {
    const pos_start = end;
    end += step.length;
    return { pos_start, tokens: [...step] };
  });
}

/** A map file is named from the source's folder. */
export function mapPath(names: string, folder: string): string {
  return names === "canonical" || BUILT_IN_MAPS.some((map) => map === names) ? names : join(folder, names);
}

/** A step starts where some sequence so far ends, or earlier: a gap would be positions that no step computed. */
export function checkPositions(where: string, steps: Dump["steps"]): void {
  let end = 0;
  for (const [index, { pos_start, tokens }] of steps.entries()) {
    if (pos_start > end) {
      throw new InputError(
        `${where}: step ${index} starts at position ${pos_start}, but steps before it end at ${end}; list every forward pass`,
      );
    }
    end = pos_start + tokens.length;
  }
}

/** Throws where a tensor is of a step that is not there. */
export function checkStep(where: string, step: number, steps: Dump["steps"]): void {
  if (step < steps.length) return;
  const number = `${steps.length} step${steps.length === 1 ? "" : "s"}`;
  throw new InputError(`${where} is of step ${step}, but there are ${number}; list every forward pass`);
}
