/** `lens` as a report: what the model would say after each layer, and the shape of its logits. */
import { type LensFacts, lensSentence, lensTable } from "../lens.ts";
import { type Made, plainReport, sectionOf } from "./plain.ts";
import type { Report } from "./schema.ts";

export function lensReport(facts: LensFacts, made: Made): Report {
  const { model, tokens, runs } = facts;
  const [first, ...others] = runs;
  const names = first.lens.rows.map(({ tap }) => tap);
  const entropy = runs.map(({ name, lens }) => ({ name, values: lens.rows.map((row) => row.entropy) }));
  const span = runs.map(({ name, lens }) => ({
    name,
    values: lens.rows.map(({ low, high }) => (low === null || high === null ? null : high - low)),
  }));
  return plainReport({
    ...made,
    verdict: first.lens.collapse === null ? "match" : "divergent",
    finding: first.lens.collapse === null ? "no collapse" : "collapse",
    sentence: lensSentence(facts).replace(/^no collapse: /, ""),
    facts: [
      ["model", model],
      ["run", first.name],
      ...(others.length === 0 ? [] : [["beside", others.map(({ name }) => name).join(", ")] as const]),
      ["tokens", `the last of ${tokens.length}`],
    ],
    sections: [
      sectionOf({
        id: "lens",
        title: "After each layer",
        intro:
          "The residual stream after every layer, put through the final norm and the head: the likeliest next tokens, and how far the logits span.",
        tables: [["Likeliest tokens and logits after each layer", lensTable(facts)]],
        curves: [
          {
            label: "Span of the logits after each layer",
            x: "layer",
            y: "largest less smallest logit",
            series: span,
            names,
          },
          { label: "Entropy of the next token after each layer", x: "layer", y: "nats", series: entropy, names },
        ],
      }),
    ],
  });
}
