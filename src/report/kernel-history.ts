/** What `kernels` prints of other runs and other versions of the kernels: alarms, bits, times. */

import type { Rise } from "../compare/kernels/baseline.ts";
import { colors } from "./colors.ts";
import type { KernelFacts } from "./kernel-facts.ts";
import { failuresOf, reasonText } from "./kernel-reasons.ts";
import { short } from "./numbers.ts";
import { type Column, table } from "./table.ts";

/** Alarms, and failures there, told one by one. */
const SHOWN = 12;

/** What a history says: alarms, and what it cannot say. */
export function baselineLines({ device, baseline }: KernelFacts): string[] {
  if (baseline === null) return [];
  const { path, compared, unknown, adapters, versions, rises } = baseline;
  const isOther = !adapters.includes(device);
  const times = ({ before, now }: Rise) => (before === 0 ? "from 0" : `${short(now / before)} times`);
  return [
    `${path}: ${compared} cases held against their history (${versions.join(", ")})${unknown > 0 ? `, ${unknown} are not in it` : ""}; ${rises.length === 0 ? "no error rose" : `${rises.length} error${rises.length === 1 ? "" : "s"} rose`}`,
    ...(isOther
      ? [
          colors.yellow(
            `note: that history is of ${adapters.join(", ") || "no adapter"}, not of this one: other bits are to be expected`,
          ),
        ]
      : []),
    ...rises
      .slice(0, SHOWN)
      .map(
        (rise) =>
          `${colors.yellow("alarm")}: ${rise.case}: relL2 ${short(rise.now)}, ${times(rise)} its largest so far, ${short(rise.before)}`,
      ),
    ...(rises.length > SHOWN ? [`and ${rises.length - SHOWN} more`] : []),
    "",
  ];
}

/** Each kernel that another version has otherwise: bits, errors, and the time of this version over the other's. */
export function versionLines({ judgements, otherVersion }: KernelFacts): string[] {
  if (otherVersion === null) return [];
  const { folder, versions } = otherVersion;
  if (versions.length === 0) return [`${folder}: no kernel of these cases differs from this version's`, ""];
  const same = versions.filter(({ isSame }) => isSame).length;
  const failed = failuresOf(versions.map(({ other }) => other));
  const own = new Map(judgements.map((each) => [each.case.id, each]));
  const rows = versions.flatMap(({ other, isSame, ratio }) =>
    ratio === null
      ? []
      : [
          [
            other.case.id,
            isSame ? "same" : "other",
            short(Math.sqrt(own.get(other.case.id)?.nmse ?? Number.NaN)),
            short(Math.sqrt(other.nmse)),
            short(ratio.median),
            `${short(ratio.low)} to ${short(ratio.high)}`,
            [
              ...(ratio.high < 1 ? [colors.green("faster")] : ratio.low > 1 ? [colors.red("slower")] : []),
              ...(other.verdict === "fail" ? [colors.yellow("fails there")] : []),
            ].join(", "),
          ],
        ],
  );
  return [
    `${folder}: ${versions.length} cases of other kernels, ${same} with the same bits${failed.length > 0 ? `; there ${failed.length} fail, the worst first:` : ""}`,
    ...failed.slice(0, SHOWN).map((each) => `${colors.yellow(">>")} there ${reasonText(each)}`),
    ...(failed.length > SHOWN ? [`and ${failed.length - SHOWN} more`] : []),
    ...(rows.length === 0 ? [] : [table(VERSION_COLUMNS, rows).trimEnd()]),
    "",
  ];
}

const VERSION_COLUMNS: readonly Column[] = [
  { title: "case", align: "left" },
  ...[
    { title: "bits", spare: 1 },
    { title: "relL2", spare: 3 },
    { title: "relL2 there", spare: 2 },
  ],
  { title: "time / theirs" },
  { title: "95 %, all together", align: "left" },
  { title: "", align: "left" },
];
