/** The report with its look-ups, and what is chosen on the page. */

import { type Outcome, outcomeOf } from "../report/document/outcome.ts";
import type { Detail, Figure, Report, ReportFinding, ReportOp, ReportTap } from "../report/document/schema.ts";

export interface Chosen {
  readonly step: number;
  readonly tap: number;
}

export class State {
  readonly report: Report;
  readonly #ops = new Map<string, ReportOp>();
  readonly #details = new Map<string, Detail>();
  readonly #listeners: ((chosen: Chosen) => void)[] = [];
  #chosen: Chosen;

  constructor(report: Report) {
    this.report = report;
    for (const op of report.ops) this.#ops.set(key(op), op);
    for (const detail of report.details) this.#details.set(key(detail), detail);
    this.#chosen = report.findings[0] ?? this.#foremost() ?? { step: 0, tap: 0 };
  }

  /** Where nothing is accused: the op that used most of what it is allowed, or else of its bound. */
  #foremost(): Chosen | undefined {
    const size = ({ share, verdict, own }: ReportOp) => {
      const value = verdict === "other-context" ? null : (share ?? own?.ofWorst ?? null);
      return typeof value === "string" ? Number.POSITIVE_INFINITY : (value ?? -1);
    };
    return this.report.ops.reduce<ReportOp | undefined>(
      (most, op) => (most === undefined || size(op) > size(most) ? op : most),
      undefined,
    );
  }

  get chosen(): Chosen {
    return this.#chosen;
  }

  /** Chooses an op; whoever listens shows it. */
  choose({ step, tap }: Chosen): void {
    this.#chosen = { step, tap };
    for (const listener of this.#listeners) listener(this.#chosen);
  }

  /** Calls back now and whenever another op is chosen. */
  whenChosen(listener: (chosen: Chosen) => void): void {
    this.#listeners.push(listener);
    listener(this.#chosen);
  }

  op(at: Chosen): ReportOp | undefined {
    return this.#ops.get(key(at));
  }

  detail(at: Chosen): Detail | undefined {
    return this.#details.get(key(at));
  }

  tap(index: number): ReportTap {
    const tap = this.report.taps[index];
    if (tap === undefined) throw new Error(`tap ${index} of ${this.report.taps.length}`);
    return tap;
  }

  /** The op of a tap in the step where it is worst: a fault before all, then what is first to differ, then by the figure. */
  worst(tap: number, of: (op: ReportOp) => Figure): ReportOp | undefined {
    const size = (op: ReportOp) => {
      const value = of(op);
      return typeof value === "string" ? Number.POSITIVE_INFINITY : (value ?? -1);
    };
    const rank = (op: ReportOp) => ["origin", "non-finite", "own-fault"].indexOf(outcomeOf([op]));
    return this.report.steps
      .map((_, step) => this.op({ step, tap }))
      .filter((op) => op !== undefined)
      .sort((a, b) => rank(b) - rank(a) || size(b) - size(a) || a.step - b.step)[0];
  }

  findingsAt({ step, tap }: Chosen): ReportFinding[] {
    return this.report.findings.filter((finding) => finding.tap === tap && finding.step <= step);
  }

  /** Index of a tap by its name, or null. */
  tapNamed(name: string): number | null {
    const index = this.report.taps.findIndex((tap) => tap.name === name);
    return index < 0 ? null : index;
  }
}

const key = ({ step, tap }: Chosen) => `${step} ${tap}`;

const SIGNS: Readonly<Record<Outcome, { readonly sign: string; readonly text: string }>> = {
  "own-fault": { sign: "\u2715", text: "wrong by itself" },
  "non-finite": { sign: "N", text: "NaN or Inf begin" },
  origin: { sign: "\u25cf", text: "first to differ" },
  "not-finite-too": { sign: "n", text: "NaN or Inf, as what feeds it" },
  differs: { sign: "!", text: "differs" },
  "other-context": { sign: "~", text: "after other tokens" },
  alike: { sign: "", text: "alike" },
  "not-compared": { sign: "", text: "not compared" },
};

/** The sign of an op in the map, so that colour is not the only one. */
export function signOf(op: ReportOp | undefined): { readonly sign: string; readonly text: string } {
  return op === undefined ? { sign: "", text: "not recorded in this step" } : SIGNS[outcomeOf([op])];
}
