/**
 * The benchmarks, as Markdown: npm run bench -- [--only peers,overhead,whole,compare,startup] [--rounds 5] [--models smollm2,embedded:Q4_K]
 * [--peers llamacpp-vulkan,...] [--device auto|hardware|software] [--prompt 32] [--steps 16] [--traces A,B]. docs/benchmarks.md says
 * what is measured and how. Take figures that are to be kept on an idle machine.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { DEVICE_KINDS, type DeviceKind } from "../src/engine/device.ts";
import { InputError } from "../src/trace/errors.ts";
import { comparePage } from "./bench/compare.ts";
import { type Contender, PEERS } from "./bench/contenders.ts";
import { overheadTable, peersTable, runContest } from "./bench/contest.ts";
import { machineLines } from "./bench/machine.ts";
import { startupPage } from "./bench/startup.ts";
import { type Subject, subjectOf } from "./bench/subjects.ts";
import { wholePage } from "./bench/whole-traces.ts";

const SECTIONS = ["peers", "overhead", "whole", "compare", "startup"] as const;
const text = (fallback: string) => ({ type: "string", default: fallback }) as const;
const OPTIONS = {
  only: text(SECTIONS.join(",")),
  rounds: text("5"),
  models: text("smollm2"),
  peers: text(Object.keys(PEERS).join(",")),
  device: text("auto"),
  prompt: text("32"),
  steps: text("16"),
  traces: { type: "string" },
} as const;

/** What is asked for; another option ends the program with one line that names all. */
function given() {
  try {
    return parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    const why = error instanceof Error ? error.message.split(". ")[0] : error;
    const names = Object.keys(OPTIONS).map((name) => `--${name}`);
    console.error(`${why}; there are ${names.join(", ")}: docs/benchmarks.md`);
    process.exit(2);
  }
}
const values = given();

const listed = (list: string) => list.split(",").filter((each) => each !== "");
/** Those of a list; throws InputError for one that is not among them. */
function chosen<T extends string>(option: string, list: string, among: readonly T[]): T[] {
  return listed(list).map((name) => {
    const found = among.find((each) => each === name);
    if (found === undefined) throw new InputError(`--${option} ${name}: there are ${among.join(", ")}`);
    return found;
  });
}
function count(option: "rounds" | "prompt" | "steps"): number {
  const value = Number(values[option]);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InputError(`--${option} ${values[option]}: give a whole number from 1 on`);
}

const say = (...lines: readonly string[]) => console.log(`${lines.join("\n")}\n`);

interface Plan {
  readonly sections: readonly (typeof SECTIONS)[number][];
  readonly device: DeviceKind;
  readonly rounds: number;
  readonly peers: readonly Contender[];
  readonly sizes: { readonly prompt: number; readonly steps: number };
}

/** Throws InputError where an option is not one. */
function readPlan(): Plan {
  const [device = "auto"] = chosen("device", values.device, DEVICE_KINDS);
  return {
    sections: chosen("only", values.only, SECTIONS),
    device,
    rounds: count("rounds"),
    peers: chosen("peers", values.peers, Object.keys(PEERS)).flatMap((name) => PEERS[name] ?? []),
    sizes: { prompt: count("prompt"), steps: count("steps") },
  };
}

async function measureModel({ title, work }: Subject, plan: Plan, folder: string): Promise<void> {
  const { device, rounds } = plan;
  const [beside, overhead] = [plan.sections.includes("peers"), plan.sections.includes("overhead")];
  if (beside || overhead) {
    const contest = await runContest({ work, device, rounds, peers: beside ? plan.peers : [] });
    say(`## ${title}`, "", `Medians of ${rounds} alternating rounds; ratios paired within a round, with their range.`);
    if (beside) say("### Beside other engines", "", peersTable(contest, work));
    if (overhead) say("### What tracing costs", "", overheadTable(contest, work));
  }
  if (plan.sections.includes("whole")) {
    say(`### Whole traces of ${title}`, "", await wholePage({ work, device, folder }));
  }
}

async function bench(plan: Plan, folder: string): Promise<void> {
  const { sections, rounds, device } = plan;
  say(...(await machineLines(device)));
  for (const spec of listed(values.models)) {
    try {
      await measureModel(await subjectOf(spec, plan.sizes, folder), plan, folder);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      say(`Not measured: ${error.message}`);
    }
  }
  if (sections.includes("compare")) {
    const [expected, actual] = listed(values.traces ?? "");
    const traces = expected !== undefined && actual !== undefined ? { traces: [expected, actual] as const } : {};
    say("## Comparing two full traces", "", await comparePage({ ...traces, rounds, device, folder }));
  }
  if (sections.includes("startup")) {
    say("## From a command to its answer", "", startupPage({ rounds, device, folder }));
  }
}

const folder = mkdtempSync(join(tmpdir(), "faultline-bench-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
try {
  await bench(readPlan(), folder);
} catch (error) {
  if (!(error instanceof InputError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
