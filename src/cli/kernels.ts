/** `faultline kernels`: every kernel alone, at many shapes and on hard inputs, held against the f64 oracle. */
import type { Command } from "commander";
import { type KernelCase, kernelCases } from "../compare/kernels/cases.ts";
import { judgeKernel, type KernelJudgement } from "../compare/kernels/judge.ts";
import { Gpu } from "../engine/device.ts";
import type { Fault } from "../engine/faults/fault.ts";
import { parseFault } from "../engine/faults/parse.ts";
import { runKernel } from "../engine/kernel-run.ts";
import { Pipelines } from "../engine/kernels.ts";
import { type KernelFacts, kernelsJson, kernelsText } from "../report/kernels.ts";
import { InputError } from "../trace/errors.ts";
import { DIVERGENT } from "./compare.ts";
import {
  addDeviceOption,
  addGitBisectOption,
  addOutputOptions,
  type DeviceOption,
  type OutputOptions,
} from "./options.ts";
import { progressBar } from "./progress.ts";

interface Options extends OutputOptions {
  readonly filter?: string;
  readonly device: Exclude<DeviceOption, "oracle">;
  readonly time: boolean;
  readonly fault?: string;
}

/** Calls that are timed together: enough that a submission's own cost is spread. */
const CALLS = 10;

export function addKernels(program: Command): void {
  const command = program
    .command("kernels")
    .description("try every kernel alone at many shapes, on hard inputs, against the f64 oracle")
    .option("--filter <words>", "only cases whose names hold all these words, e.g. 'linear Q4_K'")
    .option("--fault <id>", "plant a bug (faultline faults) in every case that can have it");
  addDeviceOption(command).option("--no-time", "do not time the calls");
  addOutputOptions(addGitBisectOption(command))
    .addHelpText(
      "after",
      "\nExit status: 0 all pass, 1 a kernel fails, 2 could not do it.\n\nExamples:\n  faultline kernels\n  faultline kernels --filter 'rms_norm wide'\n  faultline kernels --filter rope --fault rope.pairing",
    )
    .action(async (options: Options) => {
      const facts = await kernelFacts(options);
      process.stdout.write(options.json ? `${JSON.stringify(kernelsJson(facts))}\n` : kernelsText(facts));
      if (facts.judgements.some(({ verdict }) => verdict === "fail")) process.exitCode = DIVERGENT;
    });
}

async function kernelFacts({ filter, device, time, fault, quiet }: Options): Promise<KernelFacts> {
  const words = (filter ?? "").split(/\s+/).filter((word) => word !== "");
  const cases = [...kernelCases((id) => words.every((word) => id.split(" ").some((part) => part.includes(word))))];
  if (cases.length === 0) {
    throw new InputError(
      `--filter '${filter}': no case has these words; names are like 'linear 5x33x17 Q4_0 normal f32'`,
    );
  }
  const planted = cases.map((each) => (fault === undefined ? { fault: null } : plant(fault, each)));
  const refusal = planted.find(({ reason }) => reason !== undefined)?.reason;
  if (fault !== undefined && planted.every((each) => each.fault === null)) {
    throw new InputError(refusal ?? `${fault}: no case can have it`);
  }
  const gpu = await Gpu.open(device);
  const bar = progressBar("kernels", "cases", quiet);
  const started = performance.now();
  try {
    const pipelines = new Pipelines(gpu);
    const judgements: KernelJudgement[] = [];
    for (const [index, each] of cases.entries()) {
      const own = planted[index]?.fault ?? null;
      if (fault !== undefined && own === null) continue;
      const run = await runKernel(gpu, pipelines, own === null ? each : { ...each, fault: own }, time ? CALLS : 0);
      judgements.push(judgeKernel(each, run));
      bar.update(index + 1, cases.length);
    }
    return {
      ...{ judgements, device: gpu.adapter.description, fault: fault ?? null },
      elapsedMs: performance.now() - started,
    };
  } finally {
    bar.stop();
    gpu.close();
  }
}

/** The fault in a case's op, where it can have it alone. */
function plant(text: string, { model, op }: KernelCase): { fault: Fault | null; reason?: string } {
  try {
    const [id = "", parameter] = text.split(":");
    return { fault: parseFault(`${id}@${op.tap}${parameter === undefined ? "" : `:${parameter}`}`, model) };
  } catch (error) {
    if (error instanceof InputError) return { fault: null, reason: error.message };
    throw error;
  }
}
