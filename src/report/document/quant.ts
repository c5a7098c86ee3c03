/** `quant` as a report: what the weights alone explain, and what the engine added. */
import type { QuantFacts } from "../../compare/quantisation.ts";
import { faultSentence } from "../audit-facts.ts";
import { kindsTable, quantSentence, quantVerdict, typesTable } from "../quantisation.ts";
import { weightCheckText } from "../weight-check.ts";
import { type Made, plainReport, sectionOf } from "./plain.ts";
import type { Report } from "./schema.ts";

export function quantReport(facts: QuantFacts, made: Made): Report {
  const { base, models, isRequantised, tokens, textTokens } = facts;
  const names = models[0]?.ops.map(({ tap }) => tap) ?? [];
  const all = [base, ...models];
  const faults = all.flatMap((each) => each.faults.map((fault) => `${each.name}: ${faultSentence(fault)}`));
  const curve = (label: string, part: "weights" | "engine", of: QuantFacts["models"]) => ({
    ...{ label, x: "op, in order", y: "relL2", names },
    series: of.map(({ name, ops }) => ({ name, values: ops.map((op) => op[part]) })),
  });
  return plainReport({
    ...made,
    verdict: quantVerdict(facts),
    finding: quantVerdict(facts),
    sentence: quantSentence(facts),
    facts: [
      ["base", base.file],
      ["files", models.map(({ name }) => name).join(", ")],
      ["tokens", `every op of ${tokens.length} tokens, predictions of ${textTokens - 1}`],
    ],
    warnings: [
      ...(isRequantised
        ? [`${base.file} is quantised itself; what is measured is what further quantisation adds`]
        : []),
      ...all.flatMap(({ name, notPlanted }) => notPlanted.map((reason) => `${name}: ${reason}`)),
    ],
    sections: [
      ...(faults.length === 0
        ? []
        : [
            sectionOf({
              id: "faults",
              title: "What is wrong",
              intro: "Ops of the engine that are wrong by themselves, in each type.",
              lines: faults,
            }),
          ]),
      sectionOf({
        id: "types",
        title: "The types",
        intro: "What quantising the weights does to the model, and what the engine adds to that.",
        lines: all.map(weightLine),
        tables: [["Types side by side", typesTable(facts)]],
      }),
      sectionOf({
        id: "ops",
        title: "Op by op",
        intro:
          "relL2 that the decoded weights alone explain, by exact arithmetic, and what the engine added to it; the worst layer of each.",
        tables: [["Ops by name", kindsTable(facts)]],
        curves: [
          curve("What the weights explain, op by op", "weights", models),
          curve("What the engine adds, op by op", "engine", models),
        ],
      }),
    ],
  });
}

const weightLine = ({ name, weights, weightsLeftOut }: QuantFacts["base"]): string =>
  weights === null
    ? `${name}: weights not checked: ${weightsLeftOut ?? ""}`
    : `${name}: ${weightCheckText({ decoder: "ggml", ...weights }).split("\n")[0]}`;
