/** docs/localisation.md out of a score. */
import { CAUSES, type Outcome, PLACES } from "./outcome.ts";
import type { Row, Score } from "./run.ts";

const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[]) =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

const percent = (part: number, of: number) =>
  of === 0 ? "-" : `${((100 * part) / of).toFixed(part === of ? 0 : 1)} %`;

/** Evidence in the order of what it knows. */
const evidenceOf = (rows: readonly Row[]) => [...new Set(rows.flatMap(({ outcomes }) => Object.keys(outcomes)))];

function places(rows: readonly Row[], by: string) {
  const found = rows.map(({ outcomes }) => outcomes[by]).filter((each): each is Outcome => each !== undefined);
  const count = (place: Outcome["place"]) => found.filter((each) => each.place === place).length;
  const visible = count("exact") + count("late") + count("silent");
  return [found.length, ...PLACES.map(count), percent(count("exact"), visible)];
}

function causes(rows: readonly Row[], by: string) {
  const found = rows.flatMap(({ outcomes }) => outcomes[by]?.cause ?? []);
  const count = (cause: string) => found.filter((each) => each === cause).length;
  return [found.length, ...CAUSES.map(count), percent(count("right") + count("tied"), found.length)];
}

const isException = ({ place, cause }: Outcome) =>
  place === "late" || place === "silent" || place === "false" || cause === "withheld" || cause === "wrong";

/** The page. Everything in it is counted from the rows. */
export function localisationPage({ rows, clean, left }: Score, date: string): string {
  const groups = [...new Set(rows.map(({ model, steps }) => `${model}, ${steps} decode steps`))];
  const of = (group: string) => rows.filter(({ model, steps }) => `${model}, ${steps} decode steps` === group);
  const each = (
    cells: (rows: readonly Row[], by: string) => readonly (string | number)[],
    wanted: (by: string) => boolean,
  ) =>
    groups.flatMap((group) =>
      evidenceOf(of(group))
        .filter(wanted)
        .map((by) => [group, by, ...cells(of(group), by)]),
    );
  const hidden = rows.filter(({ outcomes }) => ["below", "unseen"].includes(outcomes.audit?.place ?? ""));
  const alarms = clean.reduce((sum, row) => sum + row.alarms, 0);
  const exceptions = new Map<string, { cells: readonly (string | number)[]; by: string[] }>();
  for (const { model, steps, fault, outcomes } of rows) {
    for (const [by, found] of Object.entries(outcomes)) {
      if (!isException(found)) continue;
      const cells = [model, steps, `\`${fault}\``, [found.place, found.cause].filter(Boolean).join(", "), found.said];
      const known = exceptions.get(cells.join()) ?? { cells, by: [] };
      known.by.push(by);
      exceptions.set(cells.join(), known);
    }
  }
  const exceptional = [...exceptions.values()].map(({ cells, by }) => [...cells, by.join(", ")]);
  return `# Localisation

How often this tool is right, measured on itself by \`npm run score\` (${date}; engine on a software adapter, references: llama.cpp \`--exact\` and ONNX Runtime). Every fault of
[faults.md](faults.md) that the model can have is planted on the GPU at its op in the first, a middle and the last layer; then the tool is asked where it is and what.

- **audit**: the faulty trace with values and the model, no reference. **llamacpp**, **onnx**: compared with that reference's trace; of the faulty run the values (full), 16 numbers a row (sketch)
  or statistics only (stats) are known.
- **exact**: the first op named is the planted one. **late**: an op after it. **silent**: none, although the op's own error is beyond rounding. **below**: none, and the error is within what
  rounding explains (an epsilon beside large rows). **unseen**: none, and no bit of the op changed (a cache fault without a decode step). **false**: an op before it, or where nothing was planted. The last
  column is exact of exact + late + silent.
- **right**: the planted cause alone. **tied**: among causes that give the same output to rounding. **withheld**: unknown. **wrong**: others only.

## Where

${table(
  ["run", "evidence", "planted", ...PLACES, "exact of visible"],
  each(places, () => true),
)}

## What

Causes are named from values by the audit and from sketches by a comparison; statistics tell where, not what.

${table(
  ["run", "evidence", "named at the op", ...CAUSES, "right or tied"],
  each(causes, (by) => !by.endsWith("full") && !by.endsWith("stats")),
)}

## What cannot be seen

Of ${hidden.length} plants below rounding or without any effect, the run's blind spots named ${hidden.filter(({ saidBlind }) => saidBlind).length} before they were looked for.${unsaid(hidden)}
Faults that these models cannot have (no bias, other block types, no RoPE scaling, a tied head) are not planted here but in \`test/engine/faults.test.ts\`: ${[...new Set(left)].map((id) => `\`${id}\``).join(", ")}.

## Clean runs

${alarms} false alarms.

${table(
  ["model", "run", "judged by", "ops", "alarms"],
  clean.map(({ model, run, by, judged, alarms: found }) => [model, run, by, judged, found]),
)}

## Exceptions, all of them

${exceptional.length === 0 ? "None." : table(["model", "steps", "fault", "outcome", "said", "evidence"], exceptional)}
`;
}

function unsaid(hidden: readonly Row[]): string {
  const silent = hidden.filter(({ saidBlind }) => !saidBlind).map(({ fault, model }) => `\`${fault}\` (${model})`);
  return silent.length === 0 ? "" : ` Not named: ${[...new Set(silent)].join(", ")}.`;
}
