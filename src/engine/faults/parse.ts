/** `ID[@TAP][:PARAMETER]` -> a fault at its place in a model, or one line that says why it cannot be. */
import type { OpModel } from "../../model/model.ts";
import type { Op } from "../../model/ops.ts";
import { InputError } from "../../trace/errors.ts";
import { layerOfTap, layerTap, nameInLayer } from "../../trace/taps.ts";
import type { Fault, FaultKind } from "./fault.ts";
import { FAULTS } from "./table.ts";

/** Ids this many edits away are worth naming. */
const NEAREST = 3;
const MOST_TAPS = 6;

/** The setting of a run that a fault depends on. */
export interface RunSettings {
  readonly dtype: "f32" | "f16";
  readonly kvCache: boolean;
}

/** Parses the faults of a run: at most one a tap. Throws InputError, one line. */
export function parseFaults(texts: readonly string[], model: OpModel, settings: RunSettings): Fault[] {
  const faults = texts.map((text) => parseFault(text, model));
  for (const [index, { text, kind, tap }] of faults.entries()) {
    const other = faults.slice(0, index).find((each) => (tap === null ? each.kind === kind : each.tap === tap));
    if (other !== undefined) {
      throw new InputError(
        `${other.text} and ${text} are at one place; plant one of them, or choose another tap with @TAP`,
      );
    }
    if (kind.decoding && !settings.kvCache) {
      throw new InputError(`${text}: shows in decode steps only, and --no-kv-cache has none; leave that option out`);
    }
    if (kind.id === "precision.f16-store" && settings.dtype === "f16") {
      throw new InputError(`${text}: changes nothing with --dtype f16, where every op's output is a half`);
    }
  }
  return faults;
}

/**
 * Parses one fault: `rope.pairing`, `rope.pairing@blk.2.q_rope`, `norm.eps@blk.1.ffn_norm:1e-3`. Without a tap it is planted in
 * the middle layer, at the fault's usual tap or, where it would change nothing there, at the first where it does.
 * Throws InputError for unknown ids, taps and parameters, and for faults that would change nothing in this model.
 */
export function parseFault(text: string, model: OpModel): Fault {
  const match = /^([^@:]*)(?:@([^:]*))?(?::(.*))?$/.exec(text);
  const [, id = "", tap, parameter] = match ?? [];
  const kind = FAULTS.find((each) => each.id === id);
  if (kind === undefined) {
    throw new InputError(`no fault "${id}"; nearest: ${nearest(id).join(", ")}; faultline faults lists all`);
  }
  if (kind.tokens !== undefined) {
    if (tap !== undefined || parameter !== undefined) {
      throw new InputError(
        `${text}: ${id} changes the token sequence and takes neither tap nor parameter; write ${id}`,
      );
    }
    return { text: id, kind, tap: null, parameter: 0 };
  }
  const number = parameter === undefined ? undefined : parameterOf(text, kind, parameter);
  const valueAt = (op: Op) => number ?? kind.parameter?.usual(op, model) ?? 0;
  const idle = (op: Op) => kind.idle?.(op, model, valueAt(op)) ?? null;
  const op = tap === undefined ? usualOp(kind, model, idle) : opAt(text, kind, tap, model);
  const reason = idle(op);
  if (reason !== null) throw new InputError(`${id}@${op.tap} would change nothing: ${reason}`);
  const suffix = kind.parameter === undefined ? "" : `:${valueAt(op)}`;
  return { text: `${id}@${op.tap}${suffix}`, kind, tap: op.tap, parameter: valueAt(op) };
}

const fits = (kind: FaultKind, op: Op) =>
  kind.kinds.includes(op.kind) && (kind.names === undefined || kind.names.includes(nameInLayer(op.tap)));

const middleLayer = ({ layers }: OpModel) => layers[Math.floor(layers.length / 2)];

/** Ops that a fault can be planted in, the middle layer's first. */
function candidates(kind: FaultKind, model: OpModel): Op[] {
  const ops = model.graph.map((node) => node.op).filter((op) => fits(kind, op));
  const inMiddle = (op: Op) => layerOfTap(op.tap) === middleLayer(model);
  return [...ops.filter(inMiddle), ...ops.filter((op) => !inMiddle(op))];
}

function usualOp(kind: FaultKind, model: OpModel, idle: (op: Op) => string | null): Op {
  const ops = candidates(kind, model);
  const layer = middleLayer(model);
  const usual = ops.find(({ tap }) => tap === kind.at || (layer !== undefined && tap === layerTap(layer, kind.at)));
  if (usual !== undefined && idle(usual) === null) return usual;
  const found = ops.find((op) => idle(op) === null) ?? usual ?? ops[0];
  if (found === undefined) throw new InputError(`${kind.id}: no op of this run has it; run more layers with --layers`);
  return found;
}

function opAt(text: string, kind: FaultKind, tap: string, model: OpModel): Op {
  const op = model.graph.find((node) => node.op.tap === tap)?.op;
  if (op !== undefined && fits(kind, op)) return op;
  const all = candidates(kind, model).map((each) => each.tap);
  const shown = all.slice(0, MOST_TAPS).join(", ") + (all.length > MOST_TAPS ? ", ..." : "");
  throw new InputError(
    `${text}: ${op === undefined ? "no such tap" : `${tap} is ${op.kind}`}; ${kind.id} can be planted at ${shown}`,
  );
}

function parameterOf(text: string, { id, parameter }: FaultKind, given: string): number {
  if (parameter === undefined) throw new InputError(`${text}: ${id} takes no parameter; leave out :${given}`);
  const { name, least, whole } = parameter;
  const value = Number(given);
  if (given.trim() === "" || !(value >= least) || !Number.isFinite(value) || (whole && !Number.isInteger(value))) {
    const kindOfNumber = whole ? "a whole number" : "a number";
    throw new InputError(
      `${text}: "${given}" is no ${name}; give ${kindOfNumber} of at least ${least} after the colon`,
    );
  }
  return value;
}

function nearest(id: string): string[] {
  const byDistance = FAULTS.map((kind) => ({ id: kind.id, distance: editDistance(id, kind.id) }));
  return byDistance
    .sort((a, b) => a.distance - b.distance)
    .slice(0, NEAREST)
    .map((each) => each.id);
}

/** Fewest insertions, deletions and replacements of characters (Levenshtein). */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
