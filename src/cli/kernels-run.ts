/** Runs the cases of `faultline kernels`: each kernel, its judgement, ONNX Runtime's word, and another version beside it. */
import { Answer } from "../compare/kernels/answer.ts";
import { judgeKernel, type KernelJudgement } from "../compare/kernels/judge.ts";
import { Gpu } from "../engine/device.ts";
import { ForeignKernel } from "../engine/foreign/foreign-kernel.ts";
import { runKernel } from "../engine/kernel-run.ts";
import { Pipelines, type SourceOf } from "../engine/kernels.ts";
import type { KernelFacts, VersionPair } from "../report/kernel-facts.ts";
import { chosenCases } from "./kernel-choice.ts";
import { fileOf, kernelOf, kernelsIn, kernelsOf, misfit, pathOf } from "./kernel-folders.ts";
import { endless, LIMIT_S } from "./kernel-limits.ts";
import { authorOf, inFolder, type OwnKernel, ownKernel, runOwn } from "./kernel-own.ts";
import { besideOther, changedKinds, isTimed } from "./kernel-versions.ts";
import { KernelVoices } from "./kernel-voices.ts";
import type { KernelsOptions } from "./kernels-options.ts";
import { progressBar } from "./progress.ts";

/** Calls that are timed together: enough that a submission's own cost is spread. */
const CALLS = 10;

/** Tries the cases that are asked for. Throws InputError in one line where a kernel or an option cannot be used, DeviceError where the device fails. */
export async function kernelFacts(options: KernelsOptions): Promise<Omit<KernelFacts, "baseline">> {
  const { device, time, onnx, fault, quiet, againstKernels, wgsl } = options;
  const own = ownKernel(options);
  const described = own?.description ?? null;
  const folder: SourceOf = options.kernels === undefined ? () => null : kernelsIn(options.kernels);
  const sources = own === null || described !== null ? folder : inPlace(own, folder);
  const { chosen, leftOut } = chosenCases(options, own);
  const others = againstKernels === undefined ? null : kernelsIn(againstKernels);
  const changed = others === null ? null : changedKinds(sources, others);
  const gpu = await Gpu.open(device, options.limit ?? LIMIT_S);
  const voices = await KernelVoices.open(onnx);
  const bar = progressBar("kernels", "cases", quiet);
  const started = performance.now();
  try {
    const pipelines = new Pipelines(gpu, sources);
    const foreign = own === null || described === null ? null : new ForeignKernel(gpu, own.path, described);
    const other = new Pipelines(gpu, others ?? undefined);
    const timed = time ? chosen.filter(({ of }) => changed?.has(of.kind) && isTimed(of)).length : 0;
    const judgements: KernelJudgement[] = [];
    const versions: VersionPair[] = [];
    for (const [index, { of: each, fault: bug }] of chosen.entries()) {
      const single = bug === null ? each : { ...each, fault: bug };
      const calls = time ? CALLS : 0;
      const running =
        foreign === null || "chore" in single
          ? runKernel(gpu, pipelines, single, calls)
          : runOwn(gpu, foreign, single, calls);
      const run = await running.catch((error: unknown) => {
        const given = wgsl ?? options.kernels;
        const timely = endless(error, foreign?.path ?? pathOf(single, pipelines, sources), each.id);
        throw given === undefined || foreign !== null
          ? timely
          : misfit(timely, given, each.id, `kernels/${fileOf(each.kind)}`);
      });
      const judge = (author: OwnKernel | null) => ("chore" in each ? null : new Answer(each, authorOf(author)));
      const author = own ?? inFolder(options.kernels, each.kind);
      const answer = judge(author);
      judgements.push(judgeKernel(each, run, answer));
      await voices.ask(each, answer, run.values);
      if (changed?.has(each.kind)) {
        const theirs = author === null ? judge(inFolder(againstKernels, each.kind)) : answer;
        const beside = besideOther(gpu, each, run.values, { own: pipelines, other }, { timed, answer: theirs });
        versions.push(
          await beside.catch((error: unknown) => {
            const timely = endless(error, pathOf(each, other, others ?? (() => null)), each.id);
            throw misfit(timely, againstKernels ?? "", each.id, `kernels/${fileOf(each.kind)}`);
          }),
        );
      }
      bar.update(index + 1, chosen.length);
    }
    const otherVersion = againstKernels === undefined ? null : { folder: againstKernels, versions };
    return {
      ...{ judgements, device: gpu.adapter.description, fault: fault ?? null, otherVersion, leftOut, onnx: voices },
      elapsedMs: performance.now() - started,
    };
  } finally {
    bar.stop();
    await voices.close();
    gpu.close();
  }
}

/** A kernel among those of a folder. Where a folder has more kernels for the same cases, these are not run in its place. */
const inPlace =
  ({ kind, path }: OwnKernel, folder: SourceOf): SourceOf =>
  (kernel) =>
    kernel === kernelOf(kind) ? path : kernelsOf(kind).includes(kernel) ? null : folder(kernel);
