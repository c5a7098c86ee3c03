/**
 * How fast two traces are compared: open and compare, best of five, beside reading the same bytes. `npm run bench-compare A B`;
 * without arguments two full traces of the embedded model (480 tokens and 8 steps) are made.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readPrompt } from "../src/cli/prompt.ts";
import { traceModel } from "../src/cli/trace-model.ts";
import { compareTraces } from "../src/compare/compare.ts";
import { openModel } from "../src/model/model.ts";
import { Trace } from "../src/trace/reader.ts";

const ROUNDS = 5;
const folder = mkdtempSync(join(tmpdir(), "faultline-bench-"));

async function embeddedTraces(): Promise<[string, string]> {
  const model = await openModel(fileURLToPath(new URL("../models/faultline-tiny-f16.gguf", import.meta.url)));
  const tokens = Array.from({ length: 480 }, (_, i) => (i * 37 + 11) % model.parameters.vocab);
  const read = readPrompt(model, { tokens }, 8);
  const files: [string, string] = [join(folder, "f32.arrow"), join(folder, "f16.arrow")];
  for (const [i, dtype] of (["f32", "f16"] as const).entries()) {
    const engine = { device: "auto" as const, dtype, kvCache: true };
    await traceModel({
      model,
      ...read,
      steps: 8,
      output: files[i] ?? "",
      capture: "full",
      engine,
      version: "",
      quiet: true,
    });
  }
  model.file.close();
  return files;
}

function readAll(path: string): void {
  const file = openSync(path, "r");
  const buffer = Buffer.alloc(1 << 20);
  while (readSync(file, buffer) > 0);
  closeSync(file);
}

try {
  const given = process.argv.slice(2);
  const [a, b] = given.length === 2 ? (given as [string, string]) : await embeddedTraces();
  const bytes = statSync(a).size + statSync(b).size;
  const times = { read: Number.POSITIVE_INFINITY, open: Number.POSITIVE_INFINITY, compare: Number.POSITIVE_INFINITY };
  let records = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    for (const path of [a, b]) readAll(path);
    const read = performance.now();
    const traces = [await Trace.open(a), await Trace.open(b)] as const;
    const open = performance.now();
    await compareTraces(...traces);
    const compare = performance.now();
    records = traces[0].records.length;
    for (const trace of traces) await trace.close();
    times.read = Math.min(times.read, read - start);
    times.open = Math.min(times.open, open - read);
    times.compare = Math.min(times.compare, compare - open);
  }
  const speed = (ms: number) => `${(bytes / ms / 1e6).toFixed(2)} GB/s`;
  console.log(`${records} records, ${(bytes / 1e6).toFixed(0)} MB of both traces, best of ${ROUNDS}`);
  console.log(`reading the bytes: ${times.read.toFixed(0)} ms (${speed(times.read)})`);
  console.log(
    `open: ${times.open.toFixed(0)} ms, compare: ${times.compare.toFixed(0)} ms (${speed(times.compare)}; with open ${speed(times.open + times.compare)})`,
  );
  console.log(`peak RSS ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`);
} finally {
  rmSync(folder, { recursive: true });
}
