/** Start-up, and the time from a question to its answer: whole commands, each in a process of its own. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { MODELS } from "./places.ts";
import { faultline } from "./program.ts";
import { median } from "./statistics.ts";
import { markdownTable, seconds } from "./table.ts";

export interface StartupRequest {
  readonly rounds: number;
  readonly device: string;
  readonly folder: string;
}

interface Command {
  readonly label: string;
  readonly args: (output: string) => readonly string[];
  /** What the output must hold for the answer to be the right one. */
  readonly expects?: RegExp;
}

const TINY = MODELS.embedded ?? "";
const REAL = MODELS.smollm2 ?? "";
const PLANTED = ["--fault", "rope.pairing@blk.2.q_rope"];
const bisect = (model: string, against: string, ...more: readonly string[]) => {
  const question = ["-p", "In the beginning God created", "-n", "4"];
  return (output: string) => ["bisect", model, "--against", against, ...question, ...more, "-o", output];
};

const COMMANDS: readonly Command[] = [
  { label: "`faultline --version`", args: () => ["--version"], expects: /^\d+\.\d+/ },
  { label: "`faultline doctor`", args: () => ["doctor"] },
  { label: "`faultline demo`", args: (output) => ["demo", "-o", output] },
  {
    label: "`bisect` embedded model, planted RoPE pairing, against ONNX Runtime",
    args: bisect(TINY, "onnx", ...PLANTED),
    expects: /rope\.pairing/,
  },
  {
    label: "`bisect` embedded model, planted RoPE pairing, against llama.cpp `--exact`",
    args: bisect(TINY, "llamacpp", "--exact", ...PLANTED),
    expects: /rope\.pairing/,
  },
  {
    label: "`bisect` SmolLM2-135M, planted RoPE pairing, against llama.cpp `--exact`",
    args: bisect(REAL, "llamacpp", "--exact", ...PLANTED),
    expects: /rope\.pairing/,
  },
  {
    label: "`bisect` SmolLM2-135M as it is, against llama.cpp `--exact`",
    args: bisect(REAL, "llamacpp", "--exact"),
    expects: /match/,
  },
];

export function startupPage({ rounds, device, folder }: StartupRequest): string {
  const rows = COMMANDS.map(({ label, args, expects }) => {
    if (args("").includes(REAL) && !existsSync(REAL))
      return [label, "not measured: no SmolLM2; run scripts/fetch.sh", ""];
    const output = join(folder, "output");
    const times: number[] = [];
    try {
      for (let round = 0; round < rounds; round++) {
        const parameters = args(output);
        const chosen = parameters[0] === "bisect" ? [...parameters, "--device", device] : parameters;
        const { wallMs, stdout } = faultline(chosen);
        if (expects !== undefined && !expects.test(stdout)) throw new Error(`the answer lacks ${expects.source}`);
        times.push(wallMs);
        rmSync(output, { recursive: true, force: true });
      }
    } catch (error) {
      return [label, `not measured: ${(error as Error).message}`, ""];
    }
    console.error(`bench: ${label}`);
    return [label, seconds(median(times)), `${seconds(Math.min(...times))} to ${seconds(Math.max(...times))}`];
  });
  return markdownTable(["command, whole", "median", "range"], rows);
}
