/** What a rule is: one way to get an op wrong, and what hides it. */
import type { GraphNode } from "../../model/graph.ts";
import type { Model } from "../../model/model.ts";
import type { Op, OpKind } from "../../model/ops.ts";
import { type Hidden, hidden } from "./reasons.ts";
import type { RunFacts } from "./run-facts.ts";

/** An op of the model that may be got wrong in a run. */
export interface Site {
  readonly node: GraphNode;
  readonly op: Op;
  readonly model: Model;
  readonly run: RunFacts;
}

/** Why the fault shows nothing at this op in this run, or null. */
export type Check = (site: Site) => Hidden | null;

export interface Rule {
  /** Of docs/faults.md. */
  readonly id: string;
  /** Kinds of op that it can befall. */
  readonly kinds: readonly OpKind[];
  /** Names of taps that it is limited to. */
  readonly names?: readonly string[];
  /** It can be seen where all of them are null. */
  readonly checks: readonly Check[];
}

/** Rows of a family: what an id is hidden by. */
export function family(
  name: string,
  common: Omit<Rule, "id" | "checks">,
  rows: Readonly<Record<string, readonly Check[]>>,
): readonly Rule[] {
  return Object.entries(rows).map(([id, checks]) => ({ ...common, id: `${name}.${id}`, checks }));
}

export const isTurned: Check = ({ run }) => (run.lastPosition > 0 ? null : hidden("position-0"));

export const hasTwoKeys: Check = ({ run }) => (run.lastPosition > 0 ? null : hidden("one-key"));

export const hasTwoRows: Check = ({ run }) => (run.mostRows > 1 ? null : hidden("one-row"));

/** Rows of one step differ in what the op reads. */
export const rowsDiffer: Check = (site) =>
  hasTwoRows(site) ?? (site.run.rowsDiffer(inputOf(site)) ? null : hidden("equal-rows"));

export const decodes: Check = ({ run }) => {
  if (run.decodeRows.length > 0) return null;
  return hidden(run.capture.kvCache === false ? "no-cache" : "no-decode", { steps: run.steps.length });
};

/** The tap of an op's first input; its own where it has none. */
export const inputOf = ({ node, op }: Site) => node.inputs[0]?.tap ?? op.tap;
