/** A comparison in words: the verdict first, where it begins, then a table by kind of tap. */
import type { ComparedOp, Comparison } from "../compare/compare.ts";
import { nameInLayer } from "../trace/taps.ts";
import { colors } from "./colors.ts";
import { decisive, first, isBlind } from "./comparison-facts.ts";
import { figure, short, visible } from "./numbers.ts";
import { type Column, table } from "./table.ts";

/** Ops shown where a divergence begins. */
const SHOWN_AFTER = 10;
const SHOWN_BEFORE = 4;

/** A share of a budget: percent within it, times it beyond. */
function ofBudget(share: number): string {
  if (!Number.isFinite(share)) return short(share);
  return share > 1
    ? `${share < 1e4 ? short(Number(share.toPrecision(2))) : share.toExponential(1)} x`
    : `${Number((100 * share).toPrecision(2))} %`;
}
const steps = (count: number) => `${count} step${count === 1 ? "" : "s"}`;

/** The whole report for the terminal. Its first line is the verdict. */
export function comparisonText(comparison: Comparison): string {
  const { ops, warnings } = comparison;
  return [
    verdictLine(comparison),
    ...sides(comparison),
    ...warnings.map((warning) => colors.yellow(`note: ${warning}`)),
    ...tokenLines(comparison),
    "",
    ...(ops.some((op) => op.isOrigin) ? [whereItBegins(comparison), ""] : []),
    byKind(comparison),
    ...blindLines(comparison),
    ...logitsLines(comparison),
    ...totalLines(comparison),
    "",
  ].join("\n");
}

/** One line: match or divergent, and the first thing to look at. */
export function verdictLine(comparison: Comparison): string {
  const { ops, totals, verdict } = comparison;
  if (verdict === "match") {
    const worst = worstOf(ops);
    const margin = ops.every((op) => op.evidence === "hash")
      ? "; all equal to the bit"
      : worst === undefined
        ? ""
        : `; nearest to its budget: ${worst.tap}, ${ofBudget(worst.judgement.share)} of it`;
    return `${colors.green(colors.bold("match"))}: ${totals.matched} records alike${positions(comparison)} over ${steps(new Set(ops.map((op) => op.step)).size)}${limits(comparison)}${margin}`;
  }
  return `${colors.red(colors.bold("divergent"))}: ${first(comparison)?.sentence ?? "see below"}`;
}

/** Of how many positions, where one side has more. */
function positions({ tokens: { expected, actual } }: Comparison): string {
  if (expected.length === actual.length) return "";
  return ` at ${Math.min(expected.length, actual.length)} of ${Math.max(expected.length, actual.length)} positions`;
}

/** What a match does not say: records without a partner, and what speaks for the others. */
function limits(comparison: Comparison): string {
  const left = (side: "expected" | "actual") => comparison.unmatched.filter((each) => each.side === side).length;
  const [expected, actual] = [left("expected"), left("actual")];
  const alone = expected + actual > 0 ? `; not compared: ${expected} expected, ${actual} actual` : "";
  return `${alone}${weakEvidence(comparison)}`;
}

/** Of the ops compared, those that only statistics speak for, and budgets that let all pass. */
export function weakEvidence({ ops }: Comparison): string {
  const byStatistics = ops.filter((op) => op.evidence === "statistics").length;
  const blind = ops.filter(isBlind).length;
  return [
    byStatistics > 0 ? `; ${byStatistics} of ${ops.length} only as far as statistics can tell` : "",
    blind > 0 ? `; ${blind} of ${ops.length} could not have been seen to differ` : "",
  ].join("");
}

function sides({ expected, actual, envelope }: Comparison): string[] {
  const line = (label: string, { path, manifest }: Comparison["expected"]) =>
    `${label} ${path}: ${visible(`${manifest.producer.name} ${manifest.producer.version}`)}, ${manifest.producer.dtype}, ${visible(manifest.model.file) || "model not named"}`;
  return [line("expected", expected), line("actual  ", actual), ...(envelope === null ? [] : [`envelope ${envelope}`])];
}

function tokenLines({ tokens }: Comparison): string[] {
  const { difference, shift, expected, actual } = tokens;
  if (difference === null) {
    return expected.length === actual.length
      ? []
      : [`tokens: alike; expected has ${expected.length} positions, actual ${actual.length}`];
  }
  const side = (id: number | null, piece: string | null) =>
    id === null ? "the end" : `${id} "${visible(piece ?? "")}"`;
  const lines = [
    `tokens: differ from position ${difference.position} on: expected ${side(difference.expected, difference.expectedPiece)}, actual ${side(difference.actual, difference.actualPiece)}`,
  ];
  if (shift !== null && shift !== 0) {
    lines.push(
      `        the actual tokens are ${shift > 0 ? `${shift} later` : `${-shift} earlier`} after that; rows are held against one another shifted, for what it is worth`,
    );
  }
  return lines;
}

const OP_COLUMNS: readonly Column[] = [
  { title: "", align: "left" },
  { title: "tap", align: "left" },
  { title: "step" },
  { title: "relL2" },
  { title: "allowed", spare: 1 },
  { title: "of budget" },
  { title: "worst token", spare: 2 },
  { title: "RMS expected", spare: 4 },
  { title: "RMS actual", spare: 3 },
];

function opRow(op: ComparedOp): string[] {
  const { judgement, rms } = op;
  const mark =
    op.verdict === "alike"
      ? "ok"
      : op.verdict === "other-context"
        ? "-"
        : op.isOrigin
          ? colors.red(">> origin")
          : colors.red("differs");
  const token = judgement.worst === null ? "" : String(op.posStart + judgement.worst.token);
  const figures = decisive(op);
  const relL2 = op.verdict === "non-finite" ? "NaN/Inf" : atLeast(op) + short(figures.relL2);
  return [
    mark,
    op.tap,
    String(op.step),
    relL2,
    short(figures.allowed),
    ofBudget(figures.share),
    token,
    figure(rms.expected),
    figure(rms.actual),
  ];
}

/** Sketches estimate, statistics bound from below. */
const atLeast = (op: ComparedOp) => (op.evidence === "sketch" ? "~" : op.evidence === "statistics" ? ">=" : "");

export function whereItBegins(comparison: Comparison): string {
  const { ops } = comparison;
  const at = ops.findIndex((op) => op.isOrigin);
  const shown = ops.slice(Math.max(0, at - SHOWN_BEFORE), at + SHOWN_AFTER);
  const lines = [
    colors.bold("where it begins"),
    table(
      OP_COLUMNS,
      shown.map((op) => opRow(op)),
    ).trimEnd(),
  ];
  const { downcast } = comparison;
  if (downcast !== null) lines.push(`with both sides rounded to the narrower dtype: relL2 ${short(downcast)}`);
  const further = furtherOrigins(
    ops.slice(at + 1).filter((op) => op.isOrigin),
    ops[at],
  );
  if (further.length > 0) {
    lines.push(
      `beyond their budgets too, while what feeds them is within its own: ${further.slice(0, 8).join("; ")}${further.length > 8 ? `; and ${further.length - 8} more` : ""}`,
    );
  }
  return lines.join("\n");
}

/** Origins after the first, the steps of one tap together. */
function furtherOrigins(origins: readonly ComparedOp[], first: ComparedOp | undefined): string[] {
  const steps = new Map<string, Set<number>>();
  for (const { tap, step } of origins) {
    // A record may be held against several of the other side.
    if (tap !== first?.tap || step !== first.step) steps.set(tap, (steps.get(tap) ?? new Set()).add(step));
  }
  return [...steps].map(([tap, found]) => {
    const list = [...found];
    const shown = list.length > 4 ? `${list.slice(0, 3).join(", ")}, ... ${list.at(-1)}` : list.join(", ");
    return `${tap === first?.tap ? "the same tap" : tap} in step${list.length > 1 ? "s" : ""} ${shown}`;
  });
}

const KIND_COLUMNS: readonly Column[] = [
  { title: "tap", align: "left" },
  { title: "records", spare: 4 },
  { title: "differ", spare: 3 },
  { title: "relL2" },
  { title: "allowed", spare: 1 },
  { title: "of budget" },
  { title: "at", align: "left", spare: 2 },
  { title: "ULP p99", spare: 5 },
];

/** Name of a tap without its layer; weights by their name without theirs. */
export const kindOf = (tap: string) => nameInLayer(tap).replace(/^weight:blk\.\d+\./, "weight:");

function byKind({ ops }: Comparison): string {
  const kinds = new Map<string, ComparedOp[]>();
  for (const op of ops) {
    const kind = kindOf(op.tap);
    const list = kinds.get(kind);
    if (list === undefined) kinds.set(kind, [op]);
    else list.push(op);
  }
  const rows = [...kinds].map(([kind, list]) => {
    const worst = worstOf(list);
    if (worst === undefined) return [kind, String(list.length), "-", "", "", "", "other tokens before them", ""];
    const differ = list.filter((op) => op.verdict === "numeric" || op.verdict === "non-finite").length;
    const { worst: row } = worst.judgement;
    const { relL2, allowed, share } = decisive(worst);
    const token =
      relL2 === row?.relL2 && worst.judgement.relL2 !== relL2 ? `, position ${worst.posStart + row.token}` : "";
    const where = `${worst.tap === kind ? "" : `${worst.tap}, `}step ${worst.step}${token}`;
    return [
      kind,
      String(list.length),
      differ === 0 ? "0" : colors.red(String(differ)),
      atLeast(worst) + short(relL2),
      short(allowed),
      ofBudget(share),
      where,
      worst.ulps === null || worst.ulps.p99 > MOST_ULPS ? "" : short(worst.ulps.p99),
    ];
  });
  return table(KIND_COLUMNS, rows).trimEnd();
}

/** ULPs beyond this say nothing: signs differ, or magnitudes. */
const MOST_ULPS = 1e6;

/** The op nearest to, or furthest beyond, its budget. */
export function worstOf(ops: readonly ComparedOp[]): ComparedOp | undefined {
  return ops
    .filter((op) => op.verdict !== "other-context")
    .reduce<ComparedOp | undefined>(
      (worst, op) => (worst === undefined || op.judgement.share > worst.judgement.share ? op : worst),
      undefined,
    );
}

/** A budget as large as the tensor itself lets anything pass: that is no evidence. */
export function blindLines({ ops }: Comparison): string[] {
  const blind = ops.filter(isBlind);
  if (blind.length === 0) return [];
  return [
    colors.yellow(
      `cannot be seen here: ${blind.length} records (${blind[0]?.tap}, ...) are allowed to differ by as much as they are large; --exact, or an envelope, makes their budgets sharp`,
    ),
  ];
}

function logitsLines({ logits }: Comparison): string[] {
  if (logits === null) return [];
  const { rows, sameTop, overlap, meanKl, worstKl, flips } = logits;
  return [
    "",
    `logits: ${sameTop} of ${rows} rows choose the same token, top-5 overlap ${Math.round(100 * overlap)} %, KL mean ${short(meanKl)}, worst ${short(worstKl)} nats`,
    ...flips
      .slice(0, 3)
      .map(
        ({ position, expectedTop, actualTop, margin, noise }) =>
          `        after position ${position}: expected ${expectedTop}, actual ${actualTop}; the expected margin of ${short(margin)} is ${margin <= 2 * noise ? "within" : "beyond"} what rounding explains (${short(2 * noise)})`,
      ),
  ];
}

function totalLines({ totals, unmatched, refused }: Comparison): string[] {
  const reasons = new Map<string, { count: number; first: string }>();
  for (const { side, tap, reason } of [...unmatched, ...refused]) {
    const key = `${side}: ${reason}`;
    const entry = reasons.get(key) ?? { count: 0, first: tap };
    reasons.set(key, { ...entry, count: entry.count + 1 });
  }
  return [
    "",
    `records: ${totals.expected} expected, ${totals.actual} actual; ${totals.matched} matched, ${totals.unmatched} unmatched, ${totals.refused} refused`,
    ...[...reasons].map(
      ([reason, { count, first: tap }]) => `  ${count} ${reason} (${tap}${count > 1 ? ", ..." : ""})`,
    ),
  ];
}
