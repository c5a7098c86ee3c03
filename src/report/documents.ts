/** All JSON documents by name: what `--json` prints, and the report. docs/schemas/ has them as JSON Schema (scripts/docs.ts). */
import { z } from "zod";
import { auditSchema } from "./audit-facts.ts";
import { bisectionSchema } from "./bisection.ts";
import { cacheSchema } from "./cache-check.ts";
import { comparisonSchema } from "./comparison-facts.ts";
import { demoSchema } from "./demo.ts";
import { determinismSchema } from "./determinism.ts";
import { diagnosesSchema } from "./diagnoses.ts";
import { doctorSchema } from "./doctor.ts";
import { reportSchema } from "./document/schema.ts";
import { faultsSchema } from "./faults.ts";
import { generatedSchema } from "./generation.ts";
import { importSchema } from "./import.ts";
import { inspectSchema } from "./inspect.ts";
import { kernelsSchema } from "./kernels.ts";
import { kernelsModelSchema } from "./kernels-model.ts";
import { lensSchema } from "./lens.ts";
import { quantSchema } from "./quantisation.ts";
import { replaySchema } from "./replay.ts";
import { tokensSchema } from "./tokens.ts";
import { generationSchema, traceSummarySchema } from "./trace-summary.ts";

const DOCUMENTS = [
  ...[auditSchema, bisectionSchema, cacheSchema, comparisonSchema, demoSchema, determinismSchema, diagnosesSchema],
  ...[doctorSchema, reportSchema, faultsSchema, generatedSchema, importSchema, inspectSchema, kernelsSchema],
  ...[kernelsModelSchema, lensSchema, quantSchema, replaySchema, tokensSchema, generationSchema, traceSummarySchema],
] as const;

/** JSON Schemas (draft 2020-12) by name and version, `faultline.audit/1`. */
export function jsonSchemas(): Map<string, object> {
  return new Map(
    DOCUMENTS.map((document) => {
      const name = document.shape.schema.value;
      return [name, { title: name, ...z.toJSONSchema(document, { target: "draft-2020-12" }) }] as const;
    }).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}
