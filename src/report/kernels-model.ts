/** What `kernels MODEL` prints: two versions of the kernels on a whole model. The verdict, the first op that differs, tokens, times. */
import { z } from "zod";
import type { AuditedOp } from "../compare/audit-node.ts";
import type { ModelVersions } from "../compare/kernels/model-versions.ts";
import type { PairedRatio } from "../compare/kernels/paired.ts";
import { colors, plain } from "./colors.ts";
import { percent } from "./kernel-voices.ts";
import { seconds, short, visible } from "./numbers.ts";
import { table } from "./table.ts";
import { atWidth } from "./terminal.ts";

/** Times in milliseconds, medians, and the ratio of pairs. */
export interface TimedPart {
  readonly own: number;
  readonly other: number;
  /** This version's time over the other's. */
  readonly ratio: PairedRatio;
}

/** A token chosen after the same tokens as the other's. */
export interface ChosenToken {
  readonly id: number;
  readonly text: string;
}

export interface KernelsModelFacts extends ModelVersions {
  readonly model: string;
  readonly device: string;
  /** Folders; null for this program's own kernels. */
  readonly folders: { readonly own: string | null; readonly other: string };
  /** Kernels whose text differs, and those of them that no op of this run went through. */
  readonly changed: readonly string[];
  readonly notRun: readonly string[];
  /** The kernel that matrices go through, which times depend on. */
  readonly products: { readonly own: string; readonly other: string };
  readonly prompt: readonly number[];
  readonly steps: number;
  /** Greedy choices after each step, of the prefill first. The other version is given this version's tokens. */
  readonly chosen: { readonly own: readonly ChosenToken[]; readonly other: readonly ChosenToken[] };
  /** Null where nothing was timed; `decode` of one step. */
  readonly times: { readonly prefill: TimedPart; readonly decode: TimedPart | null } | null;
  readonly elapsedMs: number;
}

const figure = z.number().nullable();
const opSchema = z.object({
  step: z.number().int(),
  tap: z.string(),
  op: z.string(),
  verdict: z.enum(["clean", "suspicious", "likely", "proved", "not-judged"]),
  /** Largest |error| / rigorous bound; null where that is infinite. */
  of_worst: figure,
  relL2: figure,
  /** NaN or Inf of finite numbers. */
  non_finite: z.number().int(),
});
const sideSchema = z.object({
  judged: z.number().int(),
  not_judged: z.number().int(),
  first: opSchema.nullable(),
  faults: z.array(opSchema),
});
const timeSchema = z.object({
  own_ms: z.number(),
  other_ms: z.number(),
  /** This version's time over the other's: median of pairs, and intervals that hold both with 95 %. */
  ratio: z.object({ median: z.number(), low: z.number(), high: z.number(), pairs: z.number().int() }),
});
const range = z.tuple([z.number().int(), z.number().int()]);
const tokenSchema = z.object({ id: z.number().int(), text: z.string() });

export const kernelsModelSchema = z.object({
  schema: z.literal("faultline.kernels-model/1"),
  verdict: z.enum(["same-bits", "both-right", "wrong", "not-judged"]),
  model: z.string(),
  device: z.string(),
  own_folder: z.string().nullable(),
  other_folder: z.string(),
  changed_kernels: z.array(z.string()),
  not_run: z.array(z.string()),
  /** The kernel that matrices go through. */
  products: z.object({ own: z.string(), other: z.string() }),
  ops: z.number().int(),
  /** The first op whose bits differ; rows and columns are first and last, both included. */
  first: z
    .object({
      step: z.number().int(),
      tap: z.string(),
      op: z.string(),
      following: z.number().int(),
      differing: z.number().int(),
      dims: z.string(),
      shape: range,
      ...{ changed: z.number().int(), rows: range, columns: range, one_sided: z.number().int() },
      /** True where both versions have the same kernels for it: a run that does not repeat itself. */
      same_kernel: z.boolean(),
      /** Null where no element is finite on both sides and of another value. */
      largest: z
        .object({ row: z.number().int(), column: z.number().int(), own: z.number(), other: z.number() })
        .nullable(),
    })
    .nullable(),
  own: sideSchema.nullable(),
  other: sideSchema.nullable(),
  prompt: z.array(z.number().int()),
  steps: z.number().int(),
  chosen: z.object({ own: z.array(tokenSchema), other: z.array(tokenSchema) }),
  times: z.object({ prefill: timeSchema, decode: timeSchema.nullable() }).nullable(),
  elapsed_ms: z.number(),
});

const finite = (value: number) => (Number.isFinite(value) ? value : null);

function opJson({ step, tap, op, own }: AuditedOp): z.infer<typeof opSchema> {
  const { verdict = "not-judged", worstShare = 0, relL2 = 0, nonFinite } = own ?? {};
  return {
    ...{ step, tap, op, verdict, of_worst: finite(worstShare), relL2: finite(relL2) },
    non_finite: (nonFinite?.unexplained ?? 0) + (nonFinite?.absorbed ?? 0),
  };
}

const sideJson = (side: KernelsModelFacts["own"]) =>
  side === null
    ? null
    : {
        ...{ judged: side.judged, not_judged: side.notJudged, faults: side.faults.map(opJson) },
        first: side.first === null ? null : opJson(side.first),
      };
const timeJson = ({ own, other, ratio }: TimedPart) => ({ own_ms: own, other_ms: other, ratio: { ...ratio } });

/** The document of `kernels MODEL --json`. */
export function kernelsModelJson(facts: KernelsModelFacts): z.infer<typeof kernelsModelSchema> {
  const { first, folders, times } = facts;
  const { index: _, oneSided = 0, isTouched = false, ...place } = first ?? {};
  return kernelsModelSchema.parse({
    schema: "faultline.kernels-model/1",
    ...{ verdict: facts.verdict, model: facts.model, device: facts.device, ops: facts.ops },
    ...{ own_folder: folders.own, other_folder: folders.other },
    ...{ changed_kernels: [...facts.changed], not_run: [...facts.notRun], products: facts.products },
    first: first === null ? null : { ...place, one_sided: oneSided, same_kernel: !isTouched },
    ...{ own: sideJson(facts.own), other: sideJson(facts.other) },
    ...{ prompt: [...facts.prompt], steps: facts.steps, chosen: facts.chosen },
    times:
      times === null
        ? null
        : { prefill: timeJson(times.prefill), decode: times.decode === null ? null : timeJson(times.decode) },
    elapsed_ms: Math.round(facts.elapsedMs),
  });
}

/** Wrong ops told one by one. */
const SHOWN = 8;
const OWN = "this program";

const namesOf = ({ folders }: KernelsModelFacts) => ({ own: folders.own ?? OWN, other: folders.other });
const at = ({ tap, step }: { readonly tap: string; readonly step: number }) => `${tap} (step ${step})`;

/** How far an op is off: times its bound, or that it makes NaN. */
function offText({ own }: AuditedOp): string {
  if (own === null) return "not judged";
  const { nonFinite, worstShare, verdict } = own;
  if (nonFinite.unexplained > 0) return `${nonFinite.unexplained} elements are NaN or Inf of finite numbers`;
  const share = `${percent(worstShare)} ${worstShare > 1 ? "its" : "of its"} bound`;
  return verdict === "likely" ? `${share}, with a pattern that rounding does not have` : share;
}

/** One line: the verdict, and the op that decides it. */
export function kernelsModelVerdict(facts: KernelsModelFacts): string {
  const { verdict, first, own, other, ops, model, changed } = facts;
  const names = namesOf(facts);
  if (first === null) {
    const text = changed.length === 0 ? ", of which no kernel differs" : "";
    return `${colors.green(colors.bold("same bits"))}: all ${ops} ops of ${model}, by ${names.own} and by ${names.other}${text}`;
  }
  const from = `bits differ from ${colors.bold(at(first))} on`;
  if (verdict === "both-right") {
    const judged = Math.min(own?.judged ?? 0, other?.judged ?? 0);
    return `${colors.green(colors.bold("other bits, both right"))}: ${from}; ${judged} differing ops judged, each within its bound on both sides`;
  }
  if (verdict === "not-judged")
    return `${colors.yellow(colors.bold("other bits, not judged"))}: ${from}; no op that differs has finite inputs on both sides`;
  const wrong = ([names.own, names.other] as const).flatMap((name, i) => {
    const [fault] = (i === 0 ? own : other)?.faults ?? [];
    return fault === undefined ? [] : [`${name} is wrong at ${colors.bold(at(fault))}: ${offText(fault)}`];
  });
  return `${colors.red(colors.bold("other bits"))}, ${wrong.join("; ")}; ${from}`;
}

const span = (what: string, [first, last]: readonly [number, number]) =>
  first === last ? `${what} ${first}` : `${what}s ${first}-${last}`;

function firstLines(facts: KernelsModelFacts): string[] {
  const { first, own, other } = facts;
  if (first === null) return [];
  const { shape, largest, oneSided } = first;
  const names = namesOf(facts);
  const size =
    largest === null
      ? ""
      : `, the largest by ${short(Math.abs(largest.own - largest.other))} at row ${largest.row}, column ${largest.column}: ${largest.own} by ${names.own}, ${largest.other} by ${names.other}`;
  const odd = oneSided > 0 ? `; ${oneSided} are NaN or Inf on one side alone` : "";
  const share = (side: typeof own) => (side?.first == null ? "not judged" : offText(side.first));
  return [
    `first: ${at(first)}, ${first.op}: ${first.changed} of ${shape[0] * shape[1]} elements differ (${span("row", first.rows)}, ${span("column", first.columns)} of ${first.dims})${size}${odd}`,
    `  on the same inputs: ${names.own} ${share(own)}; ${names.other} ${share(other)}`,
    `  ${first.differing} of ${first.following} ops after it differ too`,
    ...(first.isTouched
      ? []
      : [
          colors.yellow(
            "  note: its kernel has the same text in both versions, so the run does not repeat itself; see 'faultline determinism'",
          ),
        ]),
  ];
}

function productLines(facts: KernelsModelFacts): string[] {
  const { own, other } = facts.products;
  const names = namesOf(facts);
  return own === other
    ? []
    : [
        `matrices go through ${own} of ${names.own} and ${other} of ${names.other}: times are of these, not of one kernel`,
      ];
}

function faultLines(facts: KernelsModelFacts): string[] {
  const names = namesOf(facts);
  return (["own", "other"] as const).flatMap((name) => {
    const side = facts[name];
    if (side === null) return [];
    const { faults, judged, notJudged } = side;
    const left = notJudged > 0 ? `, ${notJudged} could not be judged` : "";
    return [
      `${names[name]}: ${judged} differing ops judged, ${faults.length} wrong${left}`,
      ...faults.slice(0, SHOWN).map((fault) => `${colors.red(">>")} ${at(fault)}: ${offText(fault)}`),
      ...(faults.length > SHOWN ? [`and ${faults.length - SHOWN} more`] : []),
    ];
  });
}

function tokenLine(facts: KernelsModelFacts): string {
  const { own, other } = facts.chosen;
  const names = namesOf(facts);
  const place = own.findIndex(({ id }, i) => id !== other[i]?.id);
  const text = (tokens: readonly ChosenToken[]) => visible(tokens.map((each) => each.text).join(""));
  if (place < 0) return `greedy tokens: the same ${own.length} (${JSON.stringify(text(own))})`;
  const [a, b] = [own[place], other[place]].map((each) => `${each?.id} (${JSON.stringify(visible(each?.text ?? ""))})`);
  const differing = own.filter(({ id }, i) => id !== other[i]?.id).length;
  return `greedy tokens: ${differing} of ${own.length} differ after the same tokens, first number ${place + 1}: ${a} by ${names.own}, ${b} by ${names.other}`;
}

function timeLines({ times, folders }: KernelsModelFacts): string[] {
  if (times === null) return [];
  const row = (name: string, part: TimedPart | null) => {
    if (part === null) return [];
    const { low, high, median, pairs } = part.ratio;
    const word = high < 1 ? colors.green("faster") : low > 1 ? colors.red("slower") : "";
    return [
      [name, short(part.own), short(part.other), short(median), `${short(low)} to ${short(high)}`, String(pairs), word],
    ];
  };
  return [
    table(
      [
        { title: "", align: "left" },
        ...[`ms, ${folders.own ?? "this program's"}`, `ms, ${folders.other}`, "ratio"].map((title) => ({ title })),
        { title: "95 %, both together", align: "left", spare: 1 },
        { title: "pairs", spare: 2 },
        { title: "", align: "left" },
      ],
      [...row("prefill", times.prefill), ...row("decode step", times.decode)],
    ).trimEnd(),
  ];
}

const count = (number: number, what: string) => `${number} ${what}${number === 1 ? "" : "s"}`;

/** The whole report for the terminal. Its first line is the verdict. */
export function kernelsModelText(facts: KernelsModelFacts): string {
  const { model, prompt, steps, device, elapsedMs, changed, notRun } = facts;
  return [
    kernelsModelVerdict(facts),
    colors.dim(
      `${model}, ${count(prompt.length, "prompt token")} and ${count(steps, "decode step")}, f32, ${seconds(elapsedMs)} on ${device}`,
    ),
    `kernels that differ: ${changed.length === 0 ? "none" : changed.join(", ")}${notRun.length === 0 ? "" : `; no op of this run went through ${notRun.join(", ")}`}`,
    ...productLines(facts),
    ...firstLines(facts),
    ...faultLines(facts),
    tokenLine(facts),
    ...timeLines(facts),
    "",
  ].join("\n");
}

/** A part of a page in Markdown: the report as it stands, so that nothing in it is markup. */
export function kernelsModelSummary(facts: KernelsModelFacts): string {
  const text = plain(atWidth(Number.POSITIVE_INFINITY, () => kernelsModelText(facts))).replaceAll("```", "'''");
  const { verdict } = facts;
  return `## Kernels on ${JSON.stringify(facts.model).replaceAll(/[^\w .,"-]/g, "_")}: ${verdict === "wrong" ? "fail" : verdict === "not-judged" ? "not judged" : "pass"}\n\n\`\`\`\n${text}\`\`\`\n\n`;
}
