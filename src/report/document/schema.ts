/** What a report says, in any format, as one JSON document: `faultline.report/1`. All words are made in this folder, none in a format. */
import { z } from "zod";

const count = z.number().int();
/** A number; what is not finite by name, what is not known as null. */
const figure = z.union([z.number(), z.enum(["NaN", "Inf", "-Inf"]), z.null()]);
export type Figure = z.infer<typeof figure>;

const token = z.object({ id: count, piece: z.string() });
export type Token = z.infer<typeof token>;

/** Statistics of one side's record, as the trace has them. */
const statistics = z.object({
  count,
  rms: figure,
  mean: figure,
  min: figure,
  max: figure,
  maxAbs: figure,
  zeros: count,
  nan: count,
  inf: count,
});
export type SideStatistics = z.infer<typeof statistics>;

/** One op of one step. */
const op = z.object({
  /** Index into `steps` and into `taps`. */
  step: count,
  tap: count,
  verdict: z.enum(["alike", "numeric", "non-finite", "other-context", "not-compared"]),
  isOrigin: z.boolean(),
  /** Of the comparison: relL2, what is allowed of it, their ratio. */
  measured: figure,
  allowed: figure,
  share: figure,
  evidence: z.string(),
  expected: statistics.nullable(),
  actual: statistics.nullable(),
  /** A second reference: its relL2 from the first, and how large its values are. Null where none took part. */
  envelope: z.object({ measured: figure, rms: figure, maxAbs: figure }).nullable(),
  /** Of the audit: the op alone, recomputed from its own inputs. */
  own: z
    .object({
      verdict: z.string(),
      relL2: figure,
      ofLikely: figure,
      /** Inf where elements are not finite without a reason. */
      ofWorst: figure,
      /** Elements that are not finite without a reason; the figures are of the others. */
      notFinite: count,
      reason: z.string().nullable(),
    })
    .nullable(),
  /** Error through the inputs, of the op itself, and what took one another back. */
  parts: z.object({ total: figure, inherited: figure, added: figure, cancelled: figure }).nullable(),
});
export type ReportOp = z.infer<typeof op>;

const tap = z.object({
  name: z.string(),
  kind: z.string(),
  /** Row of the map, and column: one of `columns`. */
  layer: count.nullable(),
  column: z.string(),
  dims: z.string(),
  inputs: z.array(z.string()),
  weights: z.array(z.string()),
});
export type ReportTap = z.infer<typeof tap>;

/** An op whose values were looked at. */
const detail = z.object({
  step: count,
  tap: count,
  /** RMS of the difference over the expected RMS, by rows and columns of the tensor, put together into cells. */
  grid: z.object({
    rows: z.array(z.string()),
    columns: z.array(z.string()),
    values: z.array(z.array(figure)),
  }),
  /** relL2 of each head; empty where there are none. */
  heads: z.array(figure),
  /** Differences by size, as shares of the expected RMS: lower edges in powers of ten, elements below and above the expected. */
  histogram: z.object({ edges: z.array(z.number()), below: z.array(count), above: z.array(count), equal: count }),
  worst: z.array(z.object({ place: z.string(), expected: figure, actual: figure })),
  /** Pairs of expected and actual, evenly spread. */
  sample: z.array(z.tuple([z.number(), z.number()])),
});
export type Detail = z.infer<typeof detail>;

const candidate = z.object({ name: z.string(), what: z.string(), residual: figure, role: z.string() });

/** An op at fault by itself, or the place where the runs part. */
const finding = z.object({
  tap: count,
  step: count,
  side: z.enum(["actual", "expected"]),
  sentence: z.string(),
  proof: z.string().nullable(),
  lines: z.array(z.string()),
  /** What reproduces the output, the nearest other hypothesis, and the right output. */
  candidates: z.array(candidate),
  tolerance: figure,
});
export type ReportFinding = z.infer<typeof finding>;

/** A part of a report that has no place of its own above: tables as the terminal has them, curves, lines. */
const section = z.object({
  id: z.string(),
  title: z.string(),
  intro: z.string(),
  lines: z.array(z.string()),
  tables: z.array(
    z.object({
      caption: z.string(),
      columns: z.array(z.object({ title: z.string(), isNumber: z.boolean() })),
      rows: z.array(z.array(z.string())),
      /** Index of the row that matters most, e.g. the first difference; null where none does. */
      mark: count.nullable(),
    }),
  ),
  curves: z.array(
    z.object({
      label: z.string(),
      x: z.string(),
      y: z.string(),
      points: z.array(z.object({ x: z.number(), y: figure, series: z.string(), name: z.string() })),
    }),
  ),
});
export type ReportSection = z.infer<typeof section>;

const choice = z.object({ id: count, piece: z.string(), logit: figure, probability: figure });

export const reportSchema = z.object({
  schema: z.literal("faultline.report/1"),
  /** Null where nothing was held against anything. */
  verdict: z.enum(["match", "divergent"]).nullable(),
  finding: z.string(),
  sentence: z.string(),
  /** The figures behind the sentence. */
  proof: z.string().nullable(),
  created: z.string(),
  version: z.string(),
  /** Label and value, as they stand at the top. */
  facts: z.array(z.tuple([z.string(), z.string()])),
  warnings: z.array(z.string()),
  blindSpots: z.array(z.object({ id: z.string(), reason: z.string() })),
  /** Names of all that ran; there may be no reference, and no second one. */
  sides: z.object({ expected: z.string().nullable(), actual: z.string(), envelope: z.string().nullable() }),
  steps: z.array(z.object({ number: count, label: z.string() })),
  /** Columns of the map: names within a layer, in order of execution. */
  columns: z.array(z.string()),
  taps: z.array(tap),
  ops: z.array(op),
  findings: z.array(finding),
  details: z.array(detail),
  tokens: z.object({
    expected: z.array(token).nullable(),
    actual: z.array(token),
    /** Tokens of the prompt, and the first position that differs. */
    prompt: count,
    firstDifference: count.nullable(),
  }),
  logits: z.array(
    z.object({
      position: count,
      after: z.string(),
      kl: figure,
      expected: z.array(choice),
      actual: z.array(choice),
    }),
  ),
  sections: z.array(section),
});
export type Report = z.infer<typeof reportSchema>;
