/** `inspect` as a report: growth of the hidden states, beside a reference's where there is one. */
import { isResidualStream } from "../../trace/taps.ts";
import { growthTable, type InspectFacts } from "../inspect.ts";
import { versusSentence, versusTable } from "../inspect-vs.ts";
import { short } from "../numbers.ts";
import { type Made, plainReport, sectionOf } from "./plain.ts";
import type { Report } from "./schema.ts";

export function growthReport(facts: InspectFacts, made: Made): Report {
  const { manifest, growth, versus, step, steps, partial } = facts;
  const { model, producer } = manifest;
  const stream = growth.filter(({ tap }) => isResidualStream(tap));
  const names = stream.map(({ tap }) => tap);
  const theirs = new Map(versus?.stream.map(({ tap, reference }) => [tap, reference]));
  const beside = versus === null ? [] : [{ name: "reference", values: names.map((tap) => theirs.get(tap) ?? null) }];
  const [first, last] = [stream[0], stream.at(-1)];
  const alone =
    first === undefined || last === undefined
      ? "the residual stream was not recorded"
      : `RMS ${short(first.rms)} at ${first.tap}, ${short(last.rms)} at ${last.tap}`;
  return plainReport({
    ...made,
    verdict: versus?.comparison.verdict ?? null,
    finding: versus?.comparison.verdict ?? "growth",
    sentence: versus === null ? alone : versusSentence(versus),
    facts: [
      ["model", [model.file, model.architecture, model.quantisation].filter((each) => each !== null).join(", ")],
      [
        "run",
        `${producer.name} ${producer.version} on ${producer.device}, ${producer.dtype}${partial ? "; not finished" : ""}`,
      ],
      ...(versus === null ? [] : [["reference", versus.path] as const]),
      ["step", `${step} of ${steps}`],
    ],
    warnings: versus?.comparison.warnings ?? [],
    sections: [
      sectionOf({
        id: "growth",
        title: "Growth of the hidden states",
        intro:
          "The residual stream from the embedding to the last layer: how large it is, and by how much each layer adds to it.",
        tables: [
          ["Growth, layer by layer", growthTable(growth)],
          ...(versus === null ? [] : [["Beside the reference", versusTable(versus.stream)] as const]),
        ],
        curves: [
          {
            label: "RMS through the network",
            x: "layer",
            y: "RMS",
            names,
            series: [{ name: "here", values: stream.map(({ rms }) => rms) }, ...beside],
          },
          {
            label: "Largest magnitude through the network",
            x: "layer",
            y: "max |x|",
            names,
            series: [{ name: "here", values: stream.map(({ maxAbs }) => maxAbs) }],
          },
        ],
      }),
    ],
  });
}
