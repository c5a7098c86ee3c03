/** Whole traces, each in a process of its own: time, memory, size of the file; and that ten of them are alike. */
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { CAPTURE_LEVELS, type CaptureLevel } from "../../src/trace/capture.ts";
import { Trace } from "../../src/trace/reader.ts";
import { faultline } from "./program.ts";
import type { Work } from "./protocol.ts";
import { markdownTable, mebibytes, seconds } from "./table.ts";

const summarySchema = z.object({ peak_rss_bytes: z.number() });

export interface WholeRequest {
  readonly work: Work;
  readonly device: string;
  readonly folder: string;
}

function trace({ work, device }: WholeRequest, level: CaptureLevel, steps: number, output: string, cold = false) {
  const options = ["--tokens", work.prompt.join(","), "-n", `${steps}`, "--device", device];
  const args = ["trace", work.model, ...options, "--capture", level, "-o", output, "--json"];
  const { wallMs, stdout } = faultline(args, cold ? { MESA_SHADER_CACHE_DISABLE: "true" } : {});
  return { wallMs, peak: summarySchema.parse(JSON.parse(stdout)).peak_rss_bytes };
}

export async function wholePage(request: WholeRequest): Promise<string> {
  const output = join(request.folder, "bench.arrow");
  const runs = [
    { level: "sketch", steps: 16, cold: true } as const,
    ...CAPTURE_LEVELS.flatMap((level) => [16, 128].map((steps) => ({ level, steps, cold: false }))),
  ];
  const rows = runs.map(({ level, steps, cold }) => {
    const { wallMs, peak } = trace(request, level, steps, output, cold);
    const cells = [level, `${steps}`, cold ? "cold" : "warm", seconds(wallMs), mebibytes(peak)];
    return [...cells, mebibytes(statSync(output).size)];
  });
  const table = markdownTable(["capture", "decode steps", "shader cache", "wall time", "peak RSS", "file"], rows);
  return `${table}\n\n${await determinism(request, output)}`;
}

async function determinism(request: WholeRequest, output: string): Promise<string> {
  const traces = new Set<string>();
  for (let i = 0; i < 10; i++) {
    trace(request, "stats", 2, output);
    const read = await Trace.open(output);
    traces.add(read.records.map((record) => record.hash.toString(16)).join(" "));
    await read.close();
  }
  rmSync(output, { force: true });
  return `Ten runs in ten processes: ${traces.size === 1 ? "all hashes equal" : `${traces.size} different traces`}.`;
}
