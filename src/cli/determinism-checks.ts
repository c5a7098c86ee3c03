/** Runs a model under conditions that must not matter, and judges the hashes: `determinism`, and what `bisect` asks first. */
import {
  CHECKS,
  type CheckName,
  type Condition,
  changedRange,
  type Judgement,
  judgeRuns,
  type RunPrints,
} from "../compare/determinism.ts";
import type { Fault } from "../engine/faults/fault.ts";
import type { DeterminismFacts, Where } from "../report/determinism.ts";
import { openEngine, sizesOf } from "../run/engine.ts";
import type { EngineOptions } from "../run/options.ts";
import { elementsOf, rowsAndColumns, shapeOf } from "../trace/dims.ts";
import { InputError } from "../trace/errors.ts";
import { type RepeatedRun, RepeatedRuns } from "./determinism-runs.ts";
import { onTerminal, progressBar } from "./progress.ts";

/** Values of one step that are held in memory at once. */
const FULL_STEP_BYTES = 1 << 30;
/** Runs of a condition where something differs: a race would have to hit the same elements every time to pass as memory. */
const CONTROLS = 3;

export interface DeterminismRun extends RepeatedRun {
  readonly engine: EngineOptions;
  readonly faults?: readonly Fault[];
  /** Runs that are repeated, at least 2. */
  readonly runs: number;
  /** Only a run untraced, a repeat at level full, and NaN in memory, on one device: what `bisect` does first. More where something differs. */
  readonly quick?: boolean;
  readonly quiet?: boolean;
  /** Bytes of values of one step that level full may hold; smaller ones are for tests. */
  readonly heldBytes?: number;
}

/** Throws InputError where there is no GPU engine to check. */
export async function checkDeterminism(run: DeterminismRun): Promise<DeterminismFacts> {
  const started = performance.now();
  if (run.engine.device === "oracle") {
    throw new InputError("--device oracle: plain loops on the CPU have no memory or threads to check; leave it out");
  }
  const names: CheckName[] = run.quick
    ? ["untraced", "full", "nan"]
    : ["fresh", "repeat", "untraced", "sketch", "full", "nan", "noise", "last"];
  const left = tooLarge(run);
  const checks = names.filter((name) => left === null || name !== "full");
  if (!checks.includes("repeat") && !checks.includes("full")) checks.push("repeat");
  const total = checks.length + run.runs - 1;
  const bar = progressBar("checking", "runs", run.quiet);
  let done = 0;
  const count = () => bar.update(++done, Math.max(total, done));
  try {
    const conditions: Condition[] = [];
    let follow: readonly number[] | undefined;
    if (checks.includes("fresh")) {
      const fresh = await onDevice(run, count, async (runner) => {
        const prints = await runner.run("fresh");
        follow = runner.follow;
        return prints;
      });
      conditions.push({ name: "fresh", runs: [fresh.result] });
    }
    const { result, device } = await onDevice(
      run,
      count,
      async (runner) => {
        const base = await runner.run("repeat");
        for (const name of checks.filter((each) => each !== "fresh")) {
          conditions.push({ name, runs: await runner.repeat(name, name === "repeat" ? run.runs - 1 : 1) });
        }
        return settle(runner, base, conditions, run.runs);
      },
      follow,
    );
    const { model, tokens, steps, faults = [] } = run;
    return {
      ...result,
      ...{ model: model.file.name, device, dtype: run.engine.dtype, tokens, steps },
      faults: faults.map((fault) => fault.text),
      leftOut: left === null ? [] : [{ name: "full", reason: left }],
      elapsedMs: performance.now() - started,
    };
  } finally {
    bar.stop();
  }
}

/** Judges; where something differs, runs again what tells a race from memory from the trace, and finds the elements. */
async function settle(
  runner: RepeatedRuns,
  base: RunPrints,
  conditions: Condition[],
  repeats: number,
): Promise<{ judgement: Judgement; where: Where | null }> {
  const judgement = judgeRuns(base, conditions);
  if (judgement.first === null) return { judgement, where: null };
  const differing = judgement.checks.filter(({ first }) => first !== null).map(({ name }) => name);
  const controlled = differing.filter((name) => CHECKS[name].kind === "observer");
  const settled = new Map(conditions.map(({ name, runs }) => [name, runs]));
  for (const name of ["repeat", "nan", "noise", ...controlled] as const) {
    const before = settled.get(name) ?? [];
    const wanted = name === "repeat" ? repeats - 1 : CONTROLS;
    settled.set(name, [...before, ...(await runner.repeat(name, wanted - before.length))]);
  }
  const again = judgeRuns(
    base,
    [...settled].map(([name, runs]) => ({ name, runs })),
  );
  return { judgement: again, where: await whereOf(runner, again) };
}

/** The elements of the first unstable op that two runs make differently: over other memory, or (a race) over the same. */
async function whereOf(runner: RepeatedRuns, { cause, first }: Judgement): Promise<Where | null> {
  if (first === null || (cause !== "race" && cause !== "memory")) return null;
  const one = await runner.values("nan", first);
  const other = await runner.values(cause === "race" ? "nan" : "noise", first);
  const { rows, columns } = rowsAndColumns(one.shape);
  const range = changedRange(one.values, other.values, columns);
  return range === null ? null : { ...range, shape: [rows, columns], dims: one.dims };
}

async function onDevice<T>(
  run: DeterminismRun,
  count: () => void,
  body: (runner: RepeatedRuns) => Promise<T>,
  follow?: readonly number[],
): Promise<{ result: T; device: string }> {
  const sizes = sizesOf(run.engine, run.tokens.length, run.steps);
  const engine = await openEngine(run.model, run.engine, sizes, onTerminal(run.quiet), run.faults);
  try {
    if (engine.gpu === undefined) throw new Error("an engine without a GPU");
    return { result: await body(new RepeatedRuns(run, engine.gpu.executor, count, follow)), device: engine.device };
  } finally {
    await engine.close();
  }
}

/** Why level full is left out, or null. */
function tooLarge({ model, tokens, steps, engine, heldBytes = FULL_STEP_BYTES }: DeterminismRun): string | null {
  const rows = sizesOf(engine, tokens.length, steps).longestStep;
  const sizes = model.axes(rows, rows);
  const bytes = model.graph.reduce((sum, node) => sum + 4 * elementsOf(shapeOf(node.op.dims, sizes)), 0);
  const mebibytes = (count: number) => Number((count / 2 ** 20).toFixed(1));
  return bytes <= heldBytes
    ? null
    : `values of a step of ${rows} tokens take ${mebibytes(bytes)} MiB, at most ${mebibytes(heldBytes)} are held`;
}
