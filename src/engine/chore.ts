/** A kernel that is no op's, alone on the GPU. */
import type { Chore, ChoreKind, ChoreOf } from "../model/chores.ts";
import { InputError } from "../trace/errors.ts";
import { Buffers } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import type { Fault } from "./faults/fault.ts";
import { FAULTS } from "./faults/table.ts";
import type { Binding, Pipelines } from "./kernels.ts";
import { type Dispatch, flatGrid, roundHalf, type StepShape, storeRows } from "./lowering.ts";
import { borderedOutput, type PreparedKernel, type PreparedOutput, prepareDispatches } from "./prepared.ts";

export interface SingleChore {
  readonly chore: Chore;
  /** One of what is stored to the cache. */
  readonly fault?: Fault;
}

interface Row<K extends ChoreKind> {
  /** Words of the output, those that are to be written, and what stands there before. */
  readonly output: (chore: ChoreOf<K>) => Pick<PreparedOutput, "written" | "initial"> & { readonly words: number };
  readonly step: (chore: ChoreOf<K>) => StepShape;
  readonly lower: (chore: ChoreOf<K>, output: Binding, buffers: Buffers, width: number) => Dispatch;
}

const NO_STEP: StepShape = { tokens: 0, posStart: 0, keys: 0 };

const ROWS: { readonly [K in ChoreKind]: Row<K> } = {
  kv_store: {
    output: ({ rows, columns, posStart, slots }) => ({
      ...{ words: slots * columns, initial: null },
      written: { first: posStart * columns, count: rows * columns },
    }),
    step: ({ rows, posStart }) => ({ tokens: rows, posStart, keys: posStart + rows }),
    lower: ({ bits, rows, columns }, output, buffers, width) =>
      storeRows(buffers.upload("rows", bits), output, columns, rows, width),
  },
  round_half: {
    output: ({ bits }) => ({
      ...{ words: bits.length, initial: bits },
      written: { first: 0, count: bits.length },
    }),
    step: () => NO_STEP,
    lower: ({ bits }, output, _buffers, width) => roundHalf(output, bits.length, width),
  },
  row_statistics: {
    output: ({ rows, words }) => ({
      ...{ words: rows * words, initial: null },
      written: { first: 0, count: rows * words },
    }),
    step: () => NO_STEP,
    lower: ({ bits, table, first, rows, words }, output, buffers, width) => ({
      kernel: "row_statistics",
      constants: { WIDTH: width, RECORD: words },
      bindings: { 1: buffers.upload("table", table), 2: buffers.upload("x", bits), 3: output },
      uniform: () => [first, rows],
      grid: () => flatGrid(rows),
    }),
  },
};

/** Uploads and compiles; `border` as in prepareSingleOp. Throws InputError for a fault that needs a whole run. */
export async function prepareChore(
  gpu: Gpu,
  { chore, fault }: SingleChore,
  pipelines: Pipelines,
  border: number,
): Promise<PreparedKernel> {
  const row = ROWS[chore.kernel] as Row<ChoreKind>;
  const buffers = new Buffers(gpu, 0);
  const { words, written, initial } = row.output(chore);
  const { buffer, binding } = borderedOutput(buffers, 4 * words, border);
  const clean = row.lower(chore, binding, buffers, gpu.width);
  const step = row.step(chore);
  const dispatches = fault === undefined ? [clean] : planted(fault, clean, step);
  return prepareDispatches(gpu, pipelines, dispatches, step, {
    buffers,
    output: { buffer, border, bytes: 4 * words, written, initial },
    close: () => buffers.close(),
  });
}

/** A fault of what a decode step stores to the cache, in that store alone; null for other faults, and where it would change nothing. */
export function storeFault(text: string, chore: Chore): Fault | null {
  const kind = FAULTS.find(({ id }) => id === text);
  if (kind?.store === undefined || chore.kernel !== "kv_store" || chore.rows > 1 || chore.posStart === 0) return null;
  return { text, kind, tap: null, parameter: 0 };
}

/** A fault of the store; what the rows were made of is not known here. */
function planted(fault: Fault, clean: Dispatch, { tokens }: StepShape): readonly Dispatch[] {
  const needsMore = new InputError(`${fault.text}: needs a whole run; plant it with 'faultline trace'`);
  if (fault.kind.store === undefined) throw needsMore;
  const site = {
    tokens,
    input: () => {
      throw needsMore;
    },
  };
  return fault.kind.store(site, clean);
}
