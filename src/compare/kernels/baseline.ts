/**
 * A kernel's history: an Arrow file with a row for each case of each run, so that a change is held against what the same case gave on
 * the same adapter before. Errors repeat to the bit there; times do not, and are kept for the eye only.
 */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { Float64, Table, tableFromIPC, tableToIPC, Utf8, vectorFromArray } from "apache-arrow";
import { InputError } from "../../trace/errors.ts";
import type { KernelJudgement } from "./judge.ts";

/** One case of one run. */
export interface HistoryRow {
  readonly case: string;
  readonly adapter: string;
  readonly version: string;
  /** ISO 8601. */
  readonly created: string;
  /** ||actual - expected|| / ||expected||. */
  readonly relL2: number;
  /** Largest share of the rigorous bound. */
  readonly ofBound: number;
  /** Of one call; NaN where it was not timed. */
  readonly milliseconds: number;
}

/** A case whose error rose. */
export interface Rise {
  readonly case: string;
  /** Largest relL2 of its history, and now. */
  readonly before: number;
  readonly now: number;
}

export interface BaselineFacts {
  readonly path: string;
  /** Cases that the history has, and those that it lacks. */
  readonly compared: number;
  readonly unknown: number;
  /** Of the history; where it is not this one, errors are compared all the same. */
  readonly adapters: readonly string[];
  readonly versions: readonly string[];
  readonly rises: readonly Rise[];
}

/** Times its own largest error by which a case may rise before it is an alarm. */
export const RISE = 1.5;

const TEXTS = ["case", "adapter", "version", "created"] as const;
const NUMBERS = ["relL2", "ofBound", "milliseconds"] as const;

/** Rows of a run, to be kept. */
export function historyOf(
  judgements: readonly KernelJudgement[],
  run: Pick<HistoryRow, "adapter" | "version" | "created">,
): HistoryRow[] {
  return judgements.map(({ case: of, nmse, ofWorst, milliseconds }) => ({
    ...{ case: of.id, ...run, relL2: Math.sqrt(nmse), ofBound: ofWorst, milliseconds: milliseconds ?? Number.NaN },
  }));
}

/** The rows of a file. Throws InputError where it is none, or lacks a column. */
export function readHistory(path: string): HistoryRow[] {
  if (!existsSync(path)) throw new InputError(`${path}: no such file; write it with --save`);
  const damaged = (why: string) => new InputError(`${path}: ${why}; give a file that 'faultline kernels --save' wrote`);
  const table = (() => {
    try {
      return tableFromIPC(readFileSync(path));
    } catch (error) {
      throw damaged(`cannot be read as Arrow (${error instanceof Error ? error.message.split("\n")[0] : error})`);
    }
  })();
  const missing = [...TEXTS, ...NUMBERS].find((name) => table.getChild(name) === null);
  if (missing !== undefined) throw damaged(`has no column ${missing}`);
  return Array.from({ length: table.numRows }, (_, i) => {
    const cell = (name: string): unknown => table.getChild(name)?.get(i);
    const text = (name: (typeof TEXTS)[number]) => String(cell(name));
    const number = (name: (typeof NUMBERS)[number]) => Number(cell(name));
    return {
      ...{ case: text("case"), adapter: text("adapter"), version: text("version"), created: text("created") },
      ...{ relL2: number("relL2"), ofBound: number("ofBound"), milliseconds: number("milliseconds") },
    };
  });
}

/** Adds rows to a file, which is made where it is not there. It is whole at every moment. Throws InputError where it is no history. */
export function saveHistory(path: string, rows: readonly HistoryRow[]): void {
  const all = [...(existsSync(path) ? readHistory(path) : []), ...rows];
  const texts = TEXTS.map(
    (name) =>
      [
        name,
        vectorFromArray(
          all.map((row) => row[name]),
          new Utf8(),
        ),
      ] as const,
  );
  const numbers = NUMBERS.map(
    (name) =>
      [
        name,
        vectorFromArray(
          all.map((row) => row[name]),
          new Float64(),
        ),
      ] as const,
  );
  const table = new Table(Object.fromEntries([...texts, ...numbers]));
  const partial = `${path}.partial`;
  try {
    writeFileSync(partial, tableToIPC(table, "file"));
    renameSync(partial, path);
  } catch (error) {
    rmSync(partial, { force: true });
    throw new InputError(`${path}: cannot be written: ${error instanceof Error ? error.message : error}`);
  }
}

/**
 * Holds a run against a history: of the same adapter where the history has it, else of all. A kernel without any error before rises
 * with its first. NaN counts as risen.
 */
export function againstHistory(
  path: string,
  history: readonly HistoryRow[],
  judgements: readonly KernelJudgement[],
  adapter: string,
): BaselineFacts {
  const same = history.filter((row) => row.adapter === adapter);
  const rows = same.length > 0 ? same : history;
  const before = new Map<string, number>();
  for (const row of rows) before.set(row.case, Math.max(before.get(row.case) ?? 0, row.relL2));
  const known = judgements.filter(({ case: of }) => before.has(of.id));
  const rises = known
    .map(({ case: of, nmse }) => ({ case: of.id, before: before.get(of.id) ?? 0, now: Math.sqrt(nmse) }))
    .filter((each) => !(each.now <= RISE * each.before));
  return {
    ...{ path, compared: known.length, unknown: judgements.length - known.length, rises },
    adapters: [...new Set(rows.map((row) => row.adapter))],
    versions: [...new Set(rows.map((row) => row.version))],
  };
}
