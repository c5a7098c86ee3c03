/** Headroom in words: a short table of what comes nearest to the largest half. */
import type { Headroom, Peak, SumHeadroom } from "../compare/headroom.ts";
import { figure, short } from "./numbers.ts";
import { table } from "./table.ts";

const COLUMNS = [
  { title: "tap", align: "left" },
  { title: "max |x|" },
  { title: "of f16" },
  { title: "step" },
  { title: "row", spare: 1 },
  { title: "column", spare: 2 },
] as const;

/** A share of the range: percent below it, times it beyond. */
export const ofRange = (share: number | null): string =>
  share === null || Number.isNaN(share) ? "?" : share >= 1 ? `${short(share)} x` : `${short(100 * share)} %`;

/** First line: whether the run fits into f16; then the taps nearest to its end. */
export function headroomText(of: Headroom, sums: readonly SumHeadroom[] = []): string {
  const { nearest, unknown } = of;
  return [
    headLine(of),
    table(COLUMNS, nearest.map(rowOf)).trimEnd(),
    ...(unknown > 0 ? [`${unknown} records do not say their largest magnitude`] : []),
    ...sums.map(
      ({ tap, step, row, column, value, reach, magnitude, share }) =>
        `${tap} (step ${step}, row ${row}, column ${column}): the sum ${short(value)} passes ${short(reach)} in order; sum |w x| is ${short(magnitude)}, ${ofRange(share)} of f16`,
    ),
    "",
  ].join("\n");
}

function headLine({ overall: { maxAbs, share, at, notFinite }, largest, fits }: Headroom): string {
  const already = notFinite > 0 ? `; ${notFinite} element${notFinite === 1 ? " is" : "s are"} not finite already` : "";
  if (maxAbs === null || at === null) return `headroom for f16: not known${already}`;
  const verdict = fits === null ? "" : `what is stored ${fits ? "fits" : "does not fit"} into f16, `;
  return `headroom: ${verdict}the largest is ${short(maxAbs)} at ${at.tap}, ${ofRange(share)} of ${largest}${already}`;
}

const rowOf = ({ name, maxAbs, share, at }: Peak) => [
  name,
  figure(maxAbs),
  ofRange(share),
  ...(at === null ? ["", "", ""] : [at.step, at.row, at.column].map(String)),
];
