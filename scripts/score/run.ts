/** Plants every fault in a model and asks the tool, by every kind of evidence, where it is and what. */

import { spotsOf } from "../../src/cli/judge.ts";
import { compareTraces } from "../../src/compare/compare.ts";
import { parseFault } from "../../src/engine/faults/parse.ts";
import { ScoreBench, type Tokens } from "./bench.ts";
import type { Site } from "./cases.ts";
import { casesOf } from "./cases.ts";
import { auditOf, byAudit, byComparison, changesTap, isFelt, type Outcome } from "./outcome.ts";

export interface Row {
  readonly model: string;
  readonly site: Site;
  /** Decode steps after the prompt. */
  readonly steps: number;
  readonly fault: string;
  /** By evidence: `audit`, `onnx full`, `onnx sketch`, `onnx stats`, ... */
  readonly outcomes: Readonly<Record<string, Outcome>>;
  /** True if the run's blind spots name the fault at its op. */
  readonly saidBlind: boolean;
}

/** A clean run, and how it was judged: false alarms. */
export interface CleanRow {
  readonly model: string;
  readonly steps: number;
  readonly run: string;
  readonly by: string;
  readonly alarms: number;
  readonly judged: number;
}

export interface Score {
  readonly rows: readonly Row[];
  readonly clean: readonly CleanRow[];
  readonly left: readonly string[];
}

export interface ScoreOptions {
  readonly name: string;
  readonly path: string;
  readonly tokens: Tokens;
  readonly sites: readonly Site[];
  readonly references: readonly ("llamacpp" | "onnx")[];
  readonly ids?: RegExp;
  /** True for what was planted and judged before. */
  readonly isKnown?: (site: Site, fault: string) => boolean;
  readonly onRow?: (row: Row, done: number, total: number) => void;
}

export async function score({
  name,
  path,
  tokens,
  sites,
  references,
  ids,
  isKnown,
  onRow,
}: ScoreOptions): Promise<Score> {
  const bench = await ScoreBench.open(path, tokens);
  try {
    const { model } = bench;
    const order = model.graph.map(({ op }) => op.tap);
    const all = casesOf(model, sites);
    const cases = all.cases
      .filter(({ id }) => ids?.test(id) ?? true)
      .filter(({ site, fault }) => isKnown?.(site, fault.text) !== true);
    const steps = tokens.follow.length;
    const clean = await bench.engine("clean", []);
    const known = [];
    for (const reference of references) known.push({ name: reference, trace: await bench.reference(reference) });
    const cleanRows: CleanRow[] = [];
    for (const { name: run, trace } of [{ name: "engine", trace: clean }, ...known]) {
      const { faults, ops } = await auditOf(model, trace);
      cleanRows.push({ model: name, steps, run, by: "audit", alarms: faults.length, judged: ops.length });
      if (run === "engine") continue;
      const { ops: compared } = await compareTraces(trace, clean);
      const alarms = compared.filter(({ isOrigin }) => isOrigin).length;
      cleanRows.push({ model: name, steps, run: "engine", by: `${run} full`, alarms, judged: compared.length });
    }
    const rows: Row[] = [];
    for (const { id, tap, site, fault } of cases) {
      const faulty = await bench.engine("faulty", [parseFault(fault.text, model)]);
      const less = [await bench.less(faulty, "sketch"), await bench.less(faulty, "stats")] as const;
      const audit = await auditOf(model, faulty);
      const planted = { id, tap, changed: changesTap(tap, clean, faulty), felt: isFelt(tap, audit) };
      const outcomes: Record<string, Outcome> = { audit: byAudit(planted, order, audit) };
      for (const reference of known) {
        for (const [level, trace] of [
          ["full", faulty],
          ["sketch", less[0]],
          ["stats", less[1]],
        ] as const) {
          const found = await byComparison(model, planted, order, reference.trace, trace);
          // From values the audit names causes; statistics do not tell them.
          outcomes[`${reference.name} ${level}`] = level === "sketch" ? found : { ...found, cause: null };
        }
      }
      const blind = (await spotsOf(model, faulty)).filter((spot) => spot.id === id);
      const saidBlind = blind.some(({ everywhere, taps }) => everywhere || taps.includes(tap));
      const row = { model: name, site, steps, fault: fault.text, outcomes, saidBlind };
      rows.push(row);
      onRow?.(row, rows.length, cases.length);
      await bench.drop(faulty, ...less);
    }
    return { rows, clean: cleanRows, left: all.left };
  } finally {
    bench.close();
  }
}
