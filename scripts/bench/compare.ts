/** How fast two full traces are compared: beside reading the same bytes, and beside numpy measuring the same. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import { readPrompt } from "../../src/cli/prompt.ts";
import { traceModel } from "../../src/cli/trace-model.ts";
import { compareTraces } from "../../src/compare/compare.ts";
import type { DeviceKind } from "../../src/engine/device.ts";
import { openModel } from "../../src/model/model.ts";
import { Trace } from "../../src/trace/reader.ts";
import { MODELS, PYTHON } from "./places.ts";
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

const numpySchema = z.object({
  open_ms: z.number(),
  compare_ms: z.number(),
  pairs: z.number(),
  difference: z.number(),
});

/** numpy in a process of its own, kept for all rounds; null where there is none. */
function startNumpy(traces: readonly string[]): ChildProcessWithoutNullStreams | null {
  if (!existsSync(PYTHON)) return null;
  return spawn(PYTHON, [join(import.meta.dirname, "compare_numpy.py"), ...traces]);
}

async function timed(body: () => void | Promise<void>): Promise<number> {
  const started = performance.now();
  await body();
  return performance.now() - started;
}

export async function comparePage({ traces, rounds, device, folder }: CompareRequest): Promise<string> {
  const files = traces ?? (await embeddedTraces(device, folder));
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  const numpy = startNumpy(files);
  const answers = numpy === null ? undefined : createInterface(numpy.stdout)[Symbol.asyncIterator]();
  const times = {
    read: [] as number[],
    sum: [] as number[],
    open: [] as number[],
    ours: [] as number[],
    numpy: [] as number[],
  };
  let pairs = { ours: 0, numpy: 0 };
  for (let round = -1; round < rounds; round++) {
    const read = await timed(() => files.forEach(readBytes));
    const sum = await timed(() => files.forEach((file) => void addUp(file)));
    const opened: Trace[] = [];
    const open = await timed(async () => {
      for (const file of files) opened.push(await Trace.open(file));
    });
    const [expected, actual] = opened;
    if (expected === undefined || actual === undefined) throw new Error("two traces are to be compared");
    const compare = await timed(async () => void (await compareTraces(expected, actual)));
    pairs = { ...pairs, ours: expected.records.length };
    for (const trace of opened) await trace.close();
    numpy?.stdin.write("\n");
    const line = (await answers?.next())?.value;
    if (round < 0) continue; // a warm-up
    times.read.push(read);
    times.sum.push(sum);
    times.open.push(open);
    times.ours.push(open + compare);
    if (typeof line === "string") {
      const found = numpySchema.parse(JSON.parse(line));
      times.numpy.push(found.open_ms + found.compare_ms);
      pairs = { ...pairs, numpy: found.pairs };
    }
  }
  numpy?.stdin.end();
  const row = (label: string, taken: readonly number[]) =>
    taken.length === 0
      ? [label, "not measured: no python with pyarrow and numpy in the cache; run scripts/fetch.sh", "", ""]
      : [
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
    row("numpy: opening and comparing", times.numpy),
  ];
  const beside =
    times.numpy.length === 0 ? "" : `\n\nnumpy's time / ours: ${ratioText(pairedRatio(times.numpy, times.ours), "x")}`;
  const size = `${(bytes / 1e6).toFixed(0)} MB of both traces, ${pairs.ours} records${times.numpy.length === 0 ? "" : ` (numpy compared ${pairs.numpy} pairs)`}`;
  return `${size}\n\n${markdownTable(["", "time", "throughput", "time / reading"], rows)}${beside}`;
}
