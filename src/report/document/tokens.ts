/** `tokens --against` as a report: two tokenisations side by side, and where they part. */
import type { PromptComparison, PromptSide } from "../../compare/prompts.ts";
import { visible } from "../numbers.ts";
import type { TableData } from "../table.ts";
import { rowsOf, sentenceOf } from "../tokens-against.ts";
import { type Made, plainReport, sectionOf } from "./plain.ts";
import type { Report } from "./schema.ts";
import { beginning } from "./wording.ts";

export function tokensReport(comparison: PromptComparison, model: string, made: Made): Report {
  const { expected, actual, alignment, isAlike, cause, aligned } = comparison;
  const rows = rowsOf(comparison);
  const first = rows.findIndex(({ differs }) => differs);
  const side = ({ name, ids }: PromptSide) => `${name}: ${ids.length} tokens`;
  const rendered = [expected, actual].flatMap(({ rendered: text }, i) =>
    text === null ? [] : [[i === 0 ? "reference" : "judged", text] as const],
  );
  return plainReport({
    ...made,
    verdict: isAlike ? "match" : "divergent",
    finding: isAlike ? "alike" : "divergent",
    sentence: sentenceOf(comparison),
    facts: [
      ["model", model],
      ["reference", side(expected)],
      ["judged", side(actual)],
      ...(cause === null ? [] : [["cause", `${cause.what} (${cause.hypothesis})`] as const]),
      ...(isAlike ? [] : [["aligned", `${aligned} of ${alignment.actual.length} positions`] as const]),
    ],
    sections: [
      sectionOf({
        id: "tokens",
        title: "Token by token",
        intro: "Every position of either side in a row of its own; what belongs together stands side by side.",
        tables: [["Tokens side by side", tableOf(rows, first), first < 0 ? null : first]],
      }),
      ...(rendered.length === 0
        ? []
        : [
            sectionOf({
              id: "chat",
              title: "The rendered chat",
              intro: "The text that the chat template makes, before it is cut into tokens.",
              lines: rendered.map(([name, text]) => `${name}: ${text}`),
            }),
          ]),
    ],
  });
}

function tableOf(rows: ReturnType<typeof rowsOf>, first: number): TableData {
  const cells = (cell: (typeof rows)[number]["expected"]) =>
    cell === null ? ["", "", ""] : [String(cell.position), String(cell.id), `"${visible(beginning(cell.piece))}"`];
  return {
    columns: [
      ...[{ title: "position" }, { title: "id" }, { title: "reference", align: "left" as const }],
      ...[{ title: "position" }, { title: "id" }, { title: "judged", align: "left" as const }],
      { title: "", align: "left" },
    ],
    rows: rows.map(({ expected, actual, differs }, i) => [
      ...[...cells(expected), ...cells(actual)],
      `${i === first ? "first difference: " : ""}${!differs ? "" : expected === null ? "more" : actual === null ? "fewer" : "other"}`,
    ]),
  };
}
