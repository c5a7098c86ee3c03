/** Faults of memory: a tensor that holds something else than what was computed. */

import type { OpModel } from "../../model/model.ts";
import type { Op } from "../../model/ops.ts";
import { rowsAndColumns, shapeOf } from "../../trace/dims.ts";
import { type FaultKind, family } from "./fault.ts";
import { ALL_KINDS } from "./precision.ts";
import { inDecoding, type Site } from "./site.ts";

/** Elements that a lost write leaves at 0. */
const LOST = 32;

const rowsAreTokens = (op: Op) => (op.dims.startsWith("token") ? null : "its rows are not tokens");

function twinName(op: Op, model: OpModel): string | null {
  const shape = (dims: string) => shapeOf(dims, model.axes(2, 3)).join();
  const layer = op.tap.replace(/[^.]*$/, "");
  const index = model.graph.findIndex((node) => node.op.tap === op.tap);
  const inputs = model.graph[index]?.inputs.map((input) => input.tap) ?? [];
  const before = model.graph.slice(0, index).filter((node) => node.op.tap.replace(/[^.]*$/, "") === layer);
  const same = before.filter((node) => shape(node.op.dims) === shape(op.dims)).map((node) => node.op.tap);
  return same.findLast((tap) => !inputs.includes(tap)) ?? same.at(-1) ?? null;
}

/** The last row of this step is kept for the next; decode steps get the one kept before. */
function lastStep(site: Site): NonNullable<ReturnType<NonNullable<FaultKind["compute"]>>> {
  const { columns } = site.shape();
  const row = { rows: 1, columns };
  const [current, last] = ["this step", "last step"].map((use) => site.scratch(use, 4 * columns));
  if (current === undefined || last === undefined) throw new Error("two buffers are needed");
  const keep = {
    ...site.copy(site.output, current, row),
    edits: [["x[token * COLUMNS", `x[${site.tokens - 1}u * COLUMNS + token * COLUMNS`]] as const,
  };
  return [keep, ...inDecoding(site, [], [site.copy(last, site.output, row)]), site.copy(current, last, row)];
}

export const MEMORY: readonly FaultKind[] = family("memory", { kinds: ALL_KINDS, at: "attn_out" } as const, {
  alias: {
    what: "The tensor equals another one bit for bit: two tensors were given the same memory, and the other was written last (here an earlier one of the layer).",
    at: "ffn_up",
    idle: (op, model) => (twinName(op, model) === null ? "no earlier tensor of its layer has its shape" : null),
    compute: (site) => {
      const twin = site.find(twinName(site.op, site.model) ?? "");
      if (twin === undefined) throw new Error(`${site.op.tap} has no twin`);
      const { rows, columns } = site.shape();
      const own = site.scratch("alias", 4 * rows * columns);
      return [site.copy(site.of(twin), own), site.copy(own, site.output)];
    },
  },
  "stale-step": {
    what: "From the first decode step on the tensor equals the last step's: an old buffer is read, or the command that fills it was not recorded again.",
    decoding: true,
    idle: rowsAreTokens,
    compute: (site, clean) => [...clean, ...lastStep(site)],
  },
  uninitialised: {
    what: "The tensor holds zeros, or what the memory held before: its kernel never ran; look for an empty grid and for errors that nobody reads.",
    compute: () => [],
  },
  race: {
    what: "Runs differ: 32 neighbouring elements, others in each run, are 0; a write is lost between two threads or two queues, look for a missing barrier.",
    idle: rowsAreTokens,
    compute: (site, clean) => {
      const { rows, columns } = site.shape();
      const block = () => Math.floor((Math.random() * rows * columns) / LOST);
      return [...clean, site.inPlace(`if (i / ${LOST}u == size.count) { x[i] = 0u; }`, block)];
    },
  },
  nan: {
    what: "One element (the first of the last row) is NaN, and the logits after it: 0/0, Inf - Inf or a read past the end; look at what feeds this op.",
    compute: (site, clean) => {
      const { dims } = site.op;
      const element = ({ tokens, keys }: { tokens: number; keys: number }) =>
        (tokens - 1) * rowsAndColumns(shapeOf(dims, site.model.axes(tokens, keys))).columns;
      return [...clean, site.inPlace("if (i == size.count) { x[i] = 0x7fc00000u; }", element)];
    },
  },
});
