/** Names of another engine -> rules of a map. */
import { readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/model/package-root.ts";
import { InputError } from "../../src/trace/errors.ts";
import { firstIssue } from "../../src/trace/schema-issue.ts";
import { type MapRule, mapSchema, type NameMap } from "./map-schema.ts";

/** The maps that come with the program, beside `canonical`. */
export const BUILT_IN_MAPS = ["llama.cpp", "hf-llama"] as const;

export interface NamedTensor {
  readonly name: string;
  readonly op: string;
  readonly weight: string;
}

export interface Found {
  readonly rule: MapRule;
  readonly tap: string;
}

/** What a name is: a tap by a rule, known and no tap, or unknown. */
export type Meaning = Found | "ignored" | "unknown";

/** The meaning of a tensor's name, by a map or (null) canonically: any name is then a tap, if the model has such a tap. */
export function meaningOf(map: NameMap | null, tensor: NamedTensor): Meaning {
  if (map === null) return { rule: { name: tensor.name, tap: tensor.name }, tap: tensor.name };
  for (const rule of map.rules) {
    if (rule.op !== undefined && rule.op !== tensor.op) continue;
    const byName = match(rule.name, tensor.name);
    const byWeight =
      rule.weight === undefined ? { layer: undefined, rest: undefined } : match(rule.weight, tensor.weight);
    if (byName === null || byWeight === null) continue;
    const layer = byName.layer ?? byWeight.layer;
    if (byName.layer !== undefined && byWeight.layer !== undefined && byName.layer !== byWeight.layer) continue;
    const tap = rule.tap.replaceAll("{N}", layer ?? "{N}").replaceAll("*", () => byName.rest ?? "*");
    return { rule, tap };
  }
  return map.ignore.some((pattern) => match(pattern, tensor.name) !== null) ? "ignored" : "unknown";
}

/** Matches a name against a pattern: `{N}` is a number, the same wherever it stands, `*` anything; the first `*` is what it stands for. */
function match(pattern: string, name: string): { layer: string | undefined; rest: string | undefined } | null {
  let expression = expressions.get(pattern);
  if (expression === undefined) {
    let [layers, rests] = [0, 0];
    const source = pattern.replaceAll(/\{N\}|[\\^$.*+?()[\]{}|]/g, (part) => {
      if (part === "{N}") return layers++ === 0 ? "(?<layer>\\d+)" : "\\k<layer>";
      if (part === "*") return rests++ === 0 ? "(?<rest>.*)" : ".*";
      return `\\${part}`;
    });
    expression = new RegExp(`^${source}$`, "s");
    expressions.set(pattern, expression);
  }
  const found = expression.exec(name);
  return found === null ? null : { layer: found.groups?.layer, rest: found.groups?.rest };
}

/** Patterns of maps, each compiled once. */
const expressions = new Map<string, RegExp>();

/** A built-in map by name, or a map file; null for `canonical`. Throws InputError naming what is wrong in the file. */
export function loadMap(name: string): NameMap | null {
  if (name === "canonical") return null;
  const builtIn = BUILT_IN_MAPS.some((each) => each === name);
  const path = builtIn ? fileURLToPath(new URL(`references/maps/${name}.json`, packageRoot())) : name;
  const remedy = `names are canonical, ${BUILT_IN_MAPS.join(", ")}, or the path of a map file (docs/writing-a-dumper.md)`;
  let text: string;
  try {
    if (!statSync(path).isFile()) throw new Error("not a file");
    text = readFileSync(path, "utf8");
  } catch {
    throw new InputError(`${name}: no such map; ${remedy}`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new InputError(`${path}: not JSON (${(error as Error).message}); see docs/writing-a-dumper.md`);
  }
  const parsed = mapSchema.safeParse(json);
  if (!parsed.success) {
    throw new InputError(`${path}: ${firstIssue(parsed.error, "map")}; see docs/writing-a-dumper.md`);
  }
  return parsed.data;
}
