/** How fast two full traces are compared: beside reading the same bytes, and beside numpy measuring the same. */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { compareTraces } from "../../src/compare/compare.ts";
import type { DeviceKind } from "../../src/engine/device.ts";
import { openModel } from "../../src/model/model.ts";
import { readPrompt } from "../../src/run/prompt.ts";
import { traceModel } from "../../src/run/trace-model.ts";
import { InputError } from "../../src/trace/errors.ts";
import { Trace } from "../../src/trace/reader.ts";
import { Numpy } from "./numpy.ts";
import { MODELS } from "./places.ts";
import { median, pairedRatio } from "./statistics.ts";
import { markdownTable, ratioText, short } from "./table.ts";

export interface CompareRequest {
  /** Two full traces; the embedded model's in f32 and in f16, 480 tokens and 8 steps, where absent. */
  readonly traces?: readonly [expected: string, actual: string];
  readonly rounds: number;
  readonly device: DeviceKind;
  /** Room for what is made. */
  readonly folder: string;
}

async function embeddedTraces(device: DeviceKind, folder: string): Promise<[string, string]> {
  const model = await openModel(MODELS.embedded ?? "");
  const tokens = Array.from({ length: 480 }, (_, i) => (i * 37 + 11) % model.parameters.vocab);
  const read = readPrompt(model, { tokens }, 8);
  const files: [string, string] = [join(folder, "f32.arrow"), join(folder, "f16.arrow")];
  const same = { model, ...read, steps: 8, capture: "full", version: "", quiet: true } as const;
  for (const [i, dtype] of (["f32", "f16"] as const).entries()) {
    await traceModel({ ...same, output: files[i] ?? "", engine: { device, dtype, kvCache: true } });
  }
  model.file.close();
  return files;
}

function readBytes(path: string): void {
  const file = openSync(path, "r");
  const buffer = Buffer.alloc(1 << 20);
  while (readSync(file, buffer) > 0);
  closeSync(file);
}

/** Reads a file and adds up its 4-byte floats: the least that looks at every value. */
function addUp(path: string): number {
  const file = openSync(path, "r");
  const values = new Float32Array(1 << 18);
  let sum = 0;
  for (let bytes = readSync(file, values); bytes > 0; bytes = readSync(file, values)) {
    for (let i = 0; i < bytes >> 2; i++) sum += values[i] ?? 0;
  }
  closeSync(file);
  return sum;
}

async function timed(body: () => void | Promise<void>): Promise<number> {
  const started = performance.now();
  await body();
  return performance.now() - started;
}

/** Milliseconds of each round. */
type Times = Record<"read" | "sum" | "open" | "ours" | "numpy", number[]>;

/** One round of everything but numpy; gives the records of a trace. */
async function round(files: readonly [string, string], times: Times): Promise<number> {
  times.read.push(await timed(() => files.forEach(readBytes)));
  times.sum.push(await timed(() => files.forEach((file) => void addUp(file))));
  const started = performance.now();
  const [expected, actual] = [await Trace.open(files[0]), await Trace.open(files[1])];
  times.open.push(performance.now() - started);
  await compareTraces(expected, actual);
  times.ours.push(performance.now() - started);
  const records = expected.records.length;
  await expected.close();
  await actual.close();
  return records;
}

export async function comparePage({ traces, rounds, device, folder }: CompareRequest): Promise<string> {
  const files = traces ?? (await embeddedTraces(device, folder));
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  const times: Times = { read: [], sum: [], open: [], ours: [], numpy: [] };
  let [records, absent, pairs] = [0, "", 0];
  let numpy: Numpy | undefined;
  try {
    numpy = new Numpy(files);
    await numpy.round(); // imports, and the page cache
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    absent = error.message;
  }
  await round(files, { read: [], sum: [], open: [], ours: [], numpy: [] }); // a warm-up
  for (let i = 0; i < rounds; i++) {
    records = await round(files, times);
    if (numpy === undefined || absent !== "") continue;
    const found = await numpy.round();
    times.numpy.push(found.ms);
    pairs = found.pairs;
  }
  numpy?.close();

  const row = (label: string, taken: readonly number[]) => [
    label,
    `${short(median(taken))} ms`,
    `${(bytes / median(taken) / 1e6).toFixed(2)} GB/s`,
    ratioText(pairedRatio(taken, times.read), "x"),
  ];
  const rows = [
    row("reading the bytes (in the page cache)", times.read),
    row("adding up every float, one plain loop", times.sum),
    row("faultline: opening both", times.open),
    row("faultline: opening and comparing", times.ours),
    ...(times.numpy.length === 0 ? [] : [row("numpy: opening and comparing", times.numpy)]),
  ];
  return [
    `${(bytes / 1e6).toFixed(0)} MB of both traces, ${records} records.`,
    "",
    markdownTable(["", "time", "throughput", "time / reading"], rows),
    "",
    absent === ""
      ? `numpy's time / ours: ${ratioText(pairedRatio(times.numpy, times.ours), "x")}, over ${pairs} pairs of records.`
      : `- not measured: numpy: ${absent}`,
  ].join("\n");
}
