/**
 * Measures the engine on SmolLM2-135M and prints Markdown: whole traces in processes of their own (time, memory), and the cost of
 * each capture level in one process, alternating. Run it on an idle machine: npm run bench
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { Gpu } from "../src/engine/device.ts";
import { Executor } from "../src/engine/executor.ts";
import { argmax } from "../src/engine/sampler.ts";
import { GpuWeights } from "../src/engine/weights.ts";
import { openModel } from "../src/model/model.ts";
import { CAPTURE_LEVELS, type CaptureLevel } from "../src/trace/capture.ts";
import { Trace } from "../src/trace/reader.ts";

const root = join(import.meta.dirname, "..");
const cache = process.env.FAULTLINE_CACHE ?? join(homedir(), ".cache", "faultline");
const model = process.argv[2] ?? join(cache, "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
const folder = mkdtempSync(join(tmpdir(), "faultline-bench-"));
/** 32 tokens of a chat, as any would do. */
const PROMPT = Array.from({ length: 32 }, (_, i) => ((i * 7919) % 40000) + 20);
const STEPS = 16;
const ROUNDS = 5;

interface Summary {
  readonly elapsed_ms: number;
  readonly peak_rss_bytes: number;
  readonly records: number;
}

/** One `faultline trace` in a process of its own; the wall time includes the start of the program. */
function traceProcess(
  level: CaptureLevel,
  steps: number,
  output: string,
  env: NodeJS.ProcessEnv = {},
): Summary & { wallMs: number } {
  const started = performance.now();
  const args = ["dist/src/cli/main.js", "trace", model, "--tokens", PROMPT.join(","), "-n", String(steps)];
  const { stdout, status, stderr } = spawnSync(
    process.execPath,
    [...args, "--capture", level, "-o", output, "--json"],
    {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, ...env },
    },
  );
  if (status !== 0) throw new Error(stderr);
  return { ...(JSON.parse(stdout) as Summary), wallMs: performance.now() - started };
}

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

function wholeTraces(): void {
  console.log("| capture | decode steps | shader cache | wall time | peak RSS | file |\n|---|---|---|---|---|---|");
  const row = (level: CaptureLevel, steps: number, cold: boolean) => {
    const output = join(folder, "bench.arrow");
    const env = cold ? { MESA_SHADER_CACHE_DISABLE: "true" } : {};
    const { wallMs, peak_rss_bytes } = traceProcess(level, steps, output, env);
    console.log(
      `| ${level} | ${steps} | ${cold ? "cold" : "warm"} | ${seconds(wallMs)} | ${mebibytes(peak_rss_bytes)} | ${mebibytes(statSync(output).size)} |`,
    );
  };
  row("sketch", STEPS, true);
  for (const level of CAPTURE_LEVELS) for (const steps of [STEPS, 128]) row(level, steps, false);
}

async function determinism(): Promise<void> {
  const traces = new Set<string>();
  for (let i = 0; i < 10; i++) {
    const output = join(folder, "same.arrow");
    traceProcess("stats", 2, output);
    const trace = await Trace.open(output);
    traces.add(trace.records.map((record) => record.hash.toString(16)).join(" "));
    await trace.close();
  }
  console.log(
    `\nTen runs in ten processes: ${traces.size === 1 ? "all hashes equal" : `${traces.size} different traces`}.`,
  );
}

/** Prefill and decode of one run, in milliseconds. */
async function timeRun(executor: Executor, level: CaptureLevel | null): Promise<{ prefill: number; decode: number }> {
  const recording = level === null ? undefined : { level, wants: () => true };
  const started = performance.now();
  let outcome = await executor.step(0, PROMPT, recording);
  if (recording) for (const _ of outcome.records(0));
  const prefilled = performance.now();
  for (let i = 0; i < STEPS; i++) {
    outcome = await executor.step(PROMPT.length + i, [argmax(outcome.logits)], recording);
    if (recording) for (const _ of outcome.records(i + 1));
  }
  return { prefill: prefilled - started, decode: (performance.now() - prefilled) / STEPS };
}

async function captureCost(): Promise<void> {
  const gpu = await Gpu.open();
  const loaded = await openModel(model);
  const weights = await GpuWeights.load(gpu, loaded.file, loaded.weights.keys());
  const executor = new Executor(gpu, loaded, weights, { capacity: PROMPT.length + STEPS });
  const levels = [null, ...CAPTURE_LEVELS];
  const times = new Map(levels.map((level) => [level, [] as { prefill: number; decode: number }[]]));
  for (const level of levels) await timeRun(executor, level); // warm-up: compiles
  for (let round = 0; round < ROUNDS; round++) {
    for (const level of levels) times.get(level)?.push(await timeRun(executor, level));
  }
  const untraced = times.get(null) ?? [];
  const cost = (run: { prefill: number; decode: number }) => run.prefill + STEPS * run.decode;
  console.log(`\n${gpu.adapter.description}; median of ${ROUNDS} alternating runs, ratio paired within a round\n`);
  console.log("| capture | prefill, 32 tokens | decode, one token | whole run / untraced |\n|---|---|---|---|");
  for (const [level, runs] of times) {
    const ratio = median(runs.map((run, i) => cost(run) / cost(untraced[i] ?? run)));
    const prefill = median(runs.map((run) => run.prefill));
    const decode = median(runs.map((run) => run.decode));
    console.log(
      `| ${level ?? "untraced"} | ${prefill.toFixed(0)} ms (${((1000 * PROMPT.length) / prefill).toFixed(0)} tokens/s) | ${decode.toFixed(0)} ms (${(1000 / decode).toFixed(1)} tokens/s) | ${ratio.toFixed(2)} |`,
    );
  }
  gpu.close();
}

try {
  await captureCost();
  console.log("");
  wholeTraces();
  await determinism();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
