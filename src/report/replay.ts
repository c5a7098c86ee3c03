/** What `replay` prints. */
import { z } from "zod";
import type { OwnError } from "../compare/audited-op.ts";
import type { Bundle } from "../compare/bundle-read.ts";
import { colors } from "./colors.ts";
import { apart, nearOne, short, visible } from "./numbers.ts";

/** Null stands for a number that is not finite. */
const figure = z.number().nullable();

export const replaySchema = z.object({
  schema: z.literal("faultline.replay/1"),
  tap: z.string(),
  op: z.string(),
  step: z.number().int(),
  /** Which output was judged. */
  output: z.enum(["stored", "given", "run"]),
  /** divergent where it is proved or likely to be wrong. */
  verdict: z.enum(["match", "divergent"]),
  own_error: z.object({
    verdict: z.string(),
    relative: figure,
    likely: figure,
    worst: figure,
    count: z.number().int(),
    beyond_likely: z.number().int(),
    beyond_worst: z.number().int(),
    at: z.object({ index: z.array(z.number().int()), expected: figure, actual: figure, allowed: figure }).nullable(),
    non_finite: z.object({
      unexplained: z.number().int(),
      overflowed: z.number().int(),
      inherited: z.number().int(),
      absorbed: z.number().int(),
    }),
  }),
});

export interface Replayed {
  readonly bundle: Bundle;
  readonly output: "stored" | "given" | "run";
  /** The file or the device that it came from. */
  readonly from: string;
  readonly own: OwnError;
}

/** True where the output is proved or likely to be wrong. */
export const isWrong = ({ own: { verdict } }: Pick<Replayed, "own">) => verdict === "proved" || verdict === "likely";

const finite = (value: number) => (Number.isFinite(value) ? value : null);

/** A flat index by axis. */
function place(index: number, shape: readonly number[]): number[] {
  let rest = index;
  return [...shape]
    .reverse()
    .map((size) => {
      const at = rest % size;
      rest = Math.floor(rest / size);
      return at;
    })
    .reverse();
}

export function replayJson({ bundle, output, own }: Replayed): z.infer<typeof replaySchema> {
  const { at, nonFinite } = own;
  const { unexplained, overflowed, inherited, absorbed } = nonFinite;
  return replaySchema.parse({
    schema: "faultline.replay/1",
    tap: bundle.op.tap,
    op: bundle.op.kind,
    step: bundle.facts.provenance.step,
    output,
    verdict: isWrong({ own }) ? "divergent" : "match",
    own_error: {
      verdict: own.verdict,
      ...{ relative: finite(own.relL2), likely: finite(own.likely), worst: finite(own.worst) },
      ...{ count: own.count, beyond_likely: own.beyondLikely, beyond_worst: own.beyondWorst },
      at:
        at === null
          ? null
          : {
              index: place(at.index, bundle.shape),
              ...{ expected: finite(at.expected), actual: finite(at.actual), allowed: finite(at.allowed) },
            },
      non_finite: { unexplained, overflowed, inherited, absorbed },
    },
  });
}

const WORDS: Readonly<Record<OwnError["verdict"], string>> = {
  clean: "right",
  suspicious: "within what a right computation may give, more than independent roundings explain",
  likely: "likely wrong",
  proved: "wrong",
  "not-judged": "not judged",
};

export function replayText(replayed: Replayed): string {
  const { bundle, output, from, own } = replayed;
  const { op, facts, shape } = bundle;
  const { model, step, diagnosis, producer } = facts.provenance;
  const verdict = (isWrong(replayed) ? colors.red : colors.green)(WORDS[own.verdict]);
  const of = {
    stored: `the output of ${producer.name} ${producer.version}`,
    given: from,
    run: `this engine (${from})`,
  };
  const { at, nonFinite, count, beyondWorst } = own;
  const [gave, right] = at === null ? ["", ""] : apart(at.actual, at.expected);
  const places = at === null ? "" : place(at.index, shape).join(", ");
  const kinds = [
    [nonFinite.unexplained, "not finite although the inputs are"],
    [nonFinite.overflowed, `beyond the range of ${facts.dtype}`],
    [nonFinite.inherited, "not finite because an input is"],
    [nonFinite.absorbed, "finite although an input is not"],
  ] as const;
  return [
    `${colors.bold(visible(op.tap))} of step ${step} (${op.kind}, ${visible(facts.dtype)}, [${shape.join(", ")}]) of ${visible(model.file)}`,
    `  ${visible(of[output])} is ${verdict}: relative error ${short(own.relL2)}, a right computation stays within ${short(own.worst)}`,
    ...(beyondWorst > 0
      ? [
          `  ${beyondWorst} of ${count} elements ${beyondWorst === 1 ? "is" : "are"} further off than any right computation`,
        ]
      : []),
    ...(own.verdict === "likely"
      ? [
          `  all elements are scaled by ${nearOne(1 + own.factor.value)}, roundings explain 1 +- ${short(own.factor.allowed)}`,
        ]
      : []),
    ...(at === null
      ? []
      : [
          `  ${isWrong(replayed) ? "" : "nearest to its bound: "}[${places}] is ${gave}, expected ${right}, may be off by ${short(at.allowed)}`,
        ]),
    ...kinds
      .filter(([many]) => many > 0)
      .map(([many, what]) => `  ${many} element${many === 1 ? " is" : "s are"} ${what}`),
    ...(diagnosis === null || output !== "stored" ? [] : [`  diagnosis: ${visible(diagnosis)}`]),
    "",
  ].join("\n");
}
