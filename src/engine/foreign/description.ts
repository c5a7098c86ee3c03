/**
 * How a kernel of another author is called (`kernels --wgsl FILE --as OP --bindings FILE.json`): entry point, workgroups, what stands at
 * each binding of group 0, override constants, and at which cases it may be tried. docs/your-own-suite.md has the document.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { BLOCK_TYPES } from "../../model/blocks.ts";
import type { OpKind } from "../../model/ops.ts";
import { InputError } from "../../trace/errors.ts";
import { firstIssue } from "../../trace/schema-issue.ts";
import { type Expression, parseExpression } from "./expression.ts";
import { BUFFERS, factNames, LAYOUTS, type WeightLayout } from "./op-facts.ts";

const value = z.union([z.number(), z.string()], { error: "a number, or an expression over the op's facts, is needed" });
const place = z.union([z.string(), z.strictObject({ uniform: z.array(z.string()).min(1) })], {
  error: 'the name of a buffer, or {"uniform": ["tokens: u32", ...]}, is needed',
});
const schema = z.strictObject({
  entry: z.string().min(1),
  workgroups: z.array(value).min(1).max(3),
  bindings: z.record(z.string(), place),
  overrides: z.record(z.string(), value).default({}),
  weights: z.enum(LAYOUTS).default("f32"),
  types: z.array(z.enum(BLOCK_TYPES.map(({ name }) => name) as [string, ...string[]])).optional(),
  needs: z.array(z.string()).default([]),
});

/** A word of a uniform. */
export interface Field {
  readonly type: "u32" | "i32" | "f32";
  readonly value: Expression;
}

export interface Description {
  readonly entry: string;
  /** x, y, z. */
  readonly workgroups: readonly Expression[];
  /** By binding number: the name of a buffer, or the words of a uniform (a read-only storage buffer will do). */
  readonly bindings: ReadonlyMap<number, string | readonly Field[]>;
  readonly overrides: ReadonlyMap<string, Expression>;
  readonly weights: WeightLayout;
  /** Block types that the kernel takes; null for all. */
  readonly types: readonly string[] | null;
  /** What must hold of a case. */
  readonly needs: readonly Expression[];
}

/** WebGPU's limit on binding numbers. */
const MOST_BINDINGS = 1000;

/** Reads a description of a kernel for a kind of op. Throws InputError: the file, the field, what is wrong with it. */
export function readDescription(path: string, kind: OpKind): Description {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    throw new InputError(`${path}: no such file, or not readable; give a description of the kernel in JSON`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text, kept);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${path}: ${error.message}`);
    throw new InputError(`${path}: is no JSON (${error instanceof Error ? error.message : error})`);
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new InputError(`${path}: ${firstIssue(parsed.error, "the document")}`);
  const { entry, workgroups, bindings, overrides, weights, types, needs } = parsed.data;
  const within = <T>(field: string, read: () => T): T => {
    try {
      return read();
    } catch (error) {
      throw error instanceof InputError ? new InputError(`${path}: ${field}: ${error.message}`) : error;
    }
  };
  within("entry", () => checkName(entry));
  for (const name of Object.keys(overrides)) within("overrides", () => checkName(name));
  const expression = (field: string, of: number | string) =>
    within(field, () => parseExpression(String(of), factNames(kind)));
  const placed = Object.entries(bindings).map(
    ([number, of]) =>
      [
        within(`bindings.${number}`, () => bindingNumber(number)),
        typeof of === "string"
          ? of
          : of.uniform.map((field) => within(`bindings.${number}`, () => fieldOf(field, kind))),
      ] as const,
  );
  within("bindings", () => checkBuffers(placed, kind));
  if (types !== undefined && BUFFERS[kind].weights.length === 0) {
    throw new InputError(`${path}: types: ${kind} reads no weights in blocks; leave it out`);
  }
  return {
    ...{ entry, weights, types: types ?? null, bindings: new Map(placed) },
    workgroups: workgroups.map((of, i) => expression(`workgroups.${i}`, of)),
    overrides: new Map(Object.entries(overrides).map(([name, of]) => [name, expression(`overrides.${name}`, of)])),
    needs: needs.map((of, i) => expression(`needs.${i}`, of)),
  };
}

/** A schema drops this key, for assigned to an object it sets the prototype. */
function kept(key: string, value: unknown): unknown {
  if (key === "__proto__") throw new InputError(`"${key}" is no field, no binding and no override; leave it out`);
  return value;
}

/** Names in WGSL; an override may be named by its number. */
const NAME = /^([\p{XID_Start}_][\p{XID_Continue}]*|\d+)$/u;
function checkName(name: string): void {
  if (!NAME.test(name)) throw new InputError(`${JSON.stringify(name)} is no name in WGSL`);
}

function bindingNumber(text: string): number {
  const number = Number(text);
  if (!/^(0|[1-9]\d*)$/.test(text) || number >= MOST_BINDINGS) {
    throw new InputError(`"${text}" is no binding number; 0 to ${MOST_BINDINGS - 1} are`);
  }
  return number;
}

/** `tokens: u32`, `1 / columns: f32`. */
function fieldOf(text: string, kind: OpKind): Field {
  const [, value, type] = /^(.*):\s*(u32|i32|f32)\s*$/.exec(text) ?? [];
  if (value === undefined) throw new InputError(`"${text}": a field is written like "tokens: u32", "i32" or "f32"`);
  return { type: type as Field["type"], value: parseExpression(value, factNames(kind)) };
}

/** Everything that the op reads, and its output, must stand somewhere; the output once. */
function checkBuffers(placed: readonly (readonly [number, string | readonly Field[]])[], kind: OpKind): void {
  const { inputs, weights, others, optional } = BUFFERS[kind];
  const known = [...inputs, ...weights, ...others, "y"];
  const bound = placed.flatMap(([, of]) => (typeof of === "string" ? [of] : []));
  const unknown = bound.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new InputError(`${kind} has no buffer ${JSON.stringify(unknown)}; it has ${known.join(", ")}`);
  const missing = known.find((name) => !optional.includes(name) && !bound.includes(name));
  if (missing !== undefined) throw new InputError(`"${missing}" stands nowhere; ${kind} has ${known.join(", ")}`);
  const lone = (BUFFERS[kind].pairs ?? []).find(([a, b]) => bound.includes(a) !== bound.includes(b));
  if (lone !== undefined)
    throw new InputError(`of "${lone.join('" and "')}" one stands alone; bind both, or neither (angles of its own)`);
  const outputs = bound.filter((name) => name === "y").length;
  if (outputs > 1) throw new InputError(`"y" stands ${outputs} times; an output stands once`);
}
