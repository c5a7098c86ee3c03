/** `generate --against` as a report: two texts, token by token, and where they part. */
import type { Choice, GenerationFacts } from "../../compare/generation.ts";
import { generationSentence, type Reading } from "../generation.ts";
import { short, visible } from "../numbers.ts";
import type { TableData } from "../table.ts";
import { type Made, plainReport, sectionOf } from "./plain.ts";
import type { Report } from "./schema.ts";
import { beginning } from "./wording.ts";

const quoted = (text: string) => `"${visible(beginning(text))}"`;

export function generationReport(facts: GenerationFacts, reading: Reading, made: Made): Report {
  const { verdict, comparison, prompt, expected, actual, pairs, first, row, judged } = facts;
  const side = ({ manifest: { producer }, path }: GenerationFacts["comparison"]["expected"]) =>
    `${producer.name === "" ? path : `${producer.name} ${producer.version} on ${producer.device}`}, ${producer.dtype}`;
  const { model, faults } = comparison.actual.manifest;
  const texts: TableData = {
    columns: ["side", "engine", "tokens", "text"].map((title) => ({
      title,
      align: title === "tokens" ? "right" : "left",
    })),
    rows: [
      ["reference", side(comparison.expected), String(expected.length), quoted(reading.decode(expected))],
      ["judged", side(comparison.actual), String(actual.length), quoted(reading.decode(actual))],
    ],
  };
  const mark = first === null ? null : pairs.indexOf(first);
  return plainReport({
    ...made,
    verdict: verdict === "divergent" ? "divergent" : "match",
    finding: verdict,
    sentence: generationSentence(facts, reading),
    facts: [
      ["model", [model.file, model.architecture, model.quantisation].filter((each) => each !== null).join(", ")],
      ["judged", side(comparison.actual)],
      ["reference", side(comparison.expected)],
      ...(judged === comparison ? [] : [["judged by", side(judged.expected)] as const]),
      ["prompt", `${prompt.length} tokens: ${quoted(reading.decode(prompt))}`],
      ...(row === null
        ? []
        : [
            ["where they part", `margin ${short(row.margin)}, noise ${short(row.noise)}, KL ${short(row.kl)}`] as const,
          ]),
      ...(faults.length === 0 ? [] : [["planted", faults.join(", ")] as const]),
    ],
    warnings: comparison.warnings,
    sections: [
      sectionOf({
        id: "texts",
        title: "The texts",
        intro: "What each side goes on with after the same prompt, always by its likeliest token.",
        tables: [["Both texts", texts]],
      }),
      sectionOf({
        id: "pairs",
        title: "Token by token",
        intro: "Each place of the text: what a side chose, its logit, and the rank that the other side gives it.",
        tables: [["Tokens side by side", pairsTable(facts, reading), mark]],
      }),
    ],
  });
}

function pairsTable({ pairs, first }: GenerationFacts, { piece }: Reading): TableData {
  const word = (choice: Choice | null) => (choice === null ? "" : quoted(piece(choice.id)));
  const number = (value: number | null | undefined) => (value == null ? "" : short(value));
  return {
    columns: [
      ...[
        { title: "token" },
        { title: "reference", align: "left" as const },
        { title: "logit" },
        { title: "rank here" },
      ],
      ...[{ title: "judged", align: "left" as const }, { title: "logit" }, { title: "rank there" }],
      { title: "", align: "left" },
    ],
    rows: pairs.map((pair) => [
      ...[String(pair.index), word(pair.expected), number(pair.expected?.logits.expected)],
      ...[number(pair.expected?.ranks.actual), word(pair.actual), number(pair.actual?.logits.actual)],
      number(pair.actual?.ranks.expected),
      pair === first ? "first difference" : pair.sameContext ? "" : "another text before it",
    ]),
  };
}
