/** What `kernels` prints of ONNX Runtime's kernels: how near they are, and where they and the oracle disagree. */
import { z } from "zod";
import type { KernelJudgement, Reason } from "../compare/kernels/judge.ts";
import type { Objection, Voice, Witness } from "../compare/kernels/witness.ts";
import { colors } from "./colors.ts";
import type { KernelFacts } from "./kernel-facts.ts";
import { short } from "./numbers.ts";

const figure = z.number().nullable();
export const onnxSchema = z.object({
  /** This kernel against ONNX Runtime's, over elements that are finite on both sides, and elements that are finite on one. */
  nmse: figure,
  one_sided: z.number().int(),
  /** ONNX Runtime's against the f64 oracle, and its largest share of the rigorous bound. */
  nmse_of_oracle: figure,
  of_worst: figure,
  /** True where the oracle holds ONNX Runtime's to be right. */
  agrees_with_oracle: z.boolean(),
  /** Null where it does. NaN and Inf as words. */
  disagreement: z.string().nullable(),
  /** What both have from this program, so that it is not witnessed; null where nothing. */
  shares: z.string().nullable(),
});

/** A share of a bound. */
export const percent = (share: number) =>
  share > 1 ? `${short(share)} x` : `${Number((100 * share).toPrecision(2))} %`;

const finite = (value: number) => (Number.isFinite(value) ? value : null);
const witnessIn = (voice: Voice | undefined): Witness | null =>
  voice !== undefined && "witness" in voice ? voice.witness : null;

/** The fields of a case in `kernels --json`. */
export function onnxJson({ kind, type }: KernelJudgement["case"], voice: Voice | undefined) {
  const witness = witnessIn(voice);
  if (voice === undefined || witness === null)
    return { onnx: null, onnx_absent: voice !== undefined && "absent" in voice ? voice.absent : "not asked" };
  const { nmse, oneSided, ofOracle, ofWorst, objection } = witness;
  return {
    onnx: {
      ...{ nmse: finite(nmse), one_sided: oneSided, nmse_of_oracle: finite(ofOracle), of_worst: finite(ofWorst) },
      ...{ agrees_with_oracle: objection === null, disagreement: objection === null ? null : objectionText(objection) },
      shares: sharedBy(kind, type),
    },
    onnx_absent: null,
  };
}

function sharedBy(kind: string, type: string | null): string | null {
  if (kind === "rope") return "the table of cosines and sines";
  return type === null || type === "F32" ? null : "weights as this program decodes them";
}

const objectionText = ({ index, expected, allowed, actual }: Objection) =>
  Number.isFinite(expected) && Number.isFinite(actual)
    ? `element ${index} is ${actual}, the oracle's ${expected}, ${short(Math.abs(actual - expected) / allowed)} times the bound apart`
    : `element ${index} is ${actual}, the oracle's ${expected}`;

/** Titles of the cells of a kernel's row; none where ONNX Runtime was not asked. */
export const onnxTitles = ({ version }: KernelFacts["onnx"]) =>
  version === null ? [] : ["NMSE to ONNX", "ONNX of bound"];

/** Largest NMSE to ONNX Runtime of usual cases, and its largest share of the bound in any. */
export function onnxRow(
  all: readonly KernelJudgement[],
  usual: readonly KernelJudgement[],
  { version, voices }: KernelFacts["onnx"],
): string[] {
  if (version === null) return [];
  const witnesses = (list: readonly KernelJudgement[]) =>
    list.map((each) => witnessIn(voices.get(each.case.id))).filter((each) => each !== null);
  if (witnesses(all).length === 0) return ["", ""];
  const nmse = Math.max(...witnesses(usual).map((each) => each.nmse));
  return [short(nmse), percent(Math.max(...witnesses(all).map(({ ofWorst }) => ofWorst)))];
}

const OF_VALUES: readonly Reason[] = ["non-finite", "absorbed", "bound", "pattern"];

/** What a failure has beside it, where it is one of values. */
export function onnxWords({ reasons }: Pick<KernelJudgement, "reasons">, voice: Voice | undefined): string {
  const witness = witnessIn(voice);
  if (witness === null || !reasons.some((reason) => OF_VALUES.includes(reason))) return "";
  const { objection, nmse, ofWorst } = witness;
  return objection === null
    ? `; ONNX Runtime agrees with the oracle against it (${percent(ofWorst)} of the bound)`
    : `; ONNX Runtime disagrees with the oracle too (NMSE of this kernel to it ${short(nmse)})`;
}

/** Disagreements told one by one. */
const SHOWN = 12;

/** Where ONNX Runtime is outside what the oracle allows: there the oracle itself may be wrong. */
export function onnxLines({ judgements, onnx }: KernelFacts): string[] {
  const objections = judgements.flatMap(({ case: of }) => {
    const objection = witnessIn(onnx.voices.get(of.id))?.objection;
    return objection === null || objection === undefined
      ? []
      : [`${colors.yellow("ONNX Runtime disagrees with the oracle")}: ${of.id}: ${objectionText(objection)}`];
  });
  const absent = [...onnx.voices.values()].find((voice) => "absent" in voice);
  const silent =
    onnx.version === null && absent !== undefined && "absent" in absent
      ? [`without ONNX Runtime: ${absent.absent}`, ""]
      : [];
  return [
    ...silent,
    ...objections.slice(0, SHOWN),
    ...(objections.length > SHOWN ? [`and ${objections.length - SHOWN} more`] : []),
    ...(objections.length > 0 ? [""] : []),
  ];
}
