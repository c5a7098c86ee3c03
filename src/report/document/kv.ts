/** `kv` as a report: does the cache hold what the prefill computes, and which suspicion is borne out. */
import type { CacheFacts } from "../../compare/cache-check.ts";
import { faultLines } from "../audit.ts";
import { faultSentence } from "../audit-facts.ts";
import { cachePositions, cacheSentence, cacheVerdict, suspicionsTable } from "../cache-check.ts";
import { plain } from "../colors.ts";
import { type Made, plainReport, sectionOf } from "./plain.ts";
import type { Report } from "./schema.ts";

export function cacheReport(facts: CacheFacts, made: Made): Report {
  const { stepped, afterReset, audit, auditLeftOut, further, blindSpots } = facts;
  const faults = [
    // Its first line is a title, the marks and the indentation are a terminal's.
    ...(audit === null ? [] : faultLines(audit).slice(1)).map((line) => plain(line).replace(/^(>>)? +/, "")),
    ...further.map((fault) => `of the prefill: ${faultSentence(fault)}`),
  ].filter((line) => line !== "");
  const { manifest } = stepped.comparison.actual;
  const compared = [
    ["Token by token against the prefill", stepped] as const,
    ...(afterReset === null ? [] : [["After a reset of the cache against the first run", afterReset] as const]),
  ];
  return plainReport({
    ...made,
    verdict: cacheVerdict(facts),
    finding: cacheVerdict(facts),
    sentence: cacheSentence(facts),
    facts: [
      ["model", manifest.model.file],
      ["run", `${manifest.producer.name}, ${manifest.producer.dtype}`],
      ["tokens", String(stepped.comparison.tokens.actual.length)],
      ...(manifest.faults.length === 0 ? [] : [["planted", manifest.faults.join(", ")] as const]),
      ...(auditLeftOut === null ? [] : [["audit", `left out: ${auditLeftOut}`] as const]),
    ],
    blindSpots: audit === null ? [] : blindSpots,
    sections: [
      ...(faults.length === 0
        ? []
        : [
            sectionOf({
              id: "faults",
              title: "What is wrong",
              intro: "Each op at fault, recomputed from its own inputs: what proves it, and its cause.",
              lines: faults,
            }),
          ]),
      sectionOf({
        id: "suspicions",
        title: "Suspicions",
        intro:
          "The cache is judged by holding runs against one another, all else by recomputing each op from its own inputs.",
        tables: [["What is borne out", suspicionsTable(facts)]],
      }),
      sectionOf({
        id: "positions",
        title: "Position by position",
        intro: "How many ops part at each position, the first of them, and how far the logits are apart.",
        tables: compared.map(([caption, of]) => [caption, cachePositions(of)] as const),
      }),
    ],
  });
}
