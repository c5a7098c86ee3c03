/** Writes docs/reports: the reports of the five investigations (docs/investigations), on the embedded model. npm run golden-reports */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const out = join(root, "docs/reports");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const folder = mkdtempSync(join(tmpdir(), "faultline-golden-"));
/** Traces lie in a folder of their own, and are named as a reader would name them. */
const file = (name: string) => `${name}.arrow`;

const GENESIS = ["-p", "In the beginning God created the heaven and the earth."];
const MOSES = ["-p", "The first book of Moses called Genesis"];
const engine = (name: string, ...rest: string[]) => ["trace", MODEL, "--capture", "full", "-o", file(name), ...rest];
const llamacpp = (name: string, ...rest: string[]) => [
  "reference",
  "llamacpp",
  MODEL,
  "--exact",
  "-o",
  file(name),
  ...rest,
];

/** Each: what is run first, and the command that leaves the report. */
const STORIES: Readonly<Record<string, { readonly before: readonly string[][]; readonly report: readonly string[] }>> =
  {
    growth: {
      before: [
        llamacpp("growth", ...GENESIS, "-n", "2"),
        engine("grown", ...GENESIS, "-n", "2", "--taps", "!rope.*", "--fault", "norm.weight-missing@blk.1.attn_norm"),
      ],
      report: ["compare", file("growth"), file("grown"), "--model", MODEL],
    },
    collapse: {
      before: [],
      report: ["determinism", MODEL, ...GENESIS, "--fault", "memory.uninitialised@blk.2.q_proj"],
    },
    quantisation: {
      before: [],
      report: ["quant", MODEL, ...GENESIS, "--types", "q4_0,q8_0", "--fault", "quant.nibble-order@blk.1.ffn_up"],
    },
    tokens: {
      before: [engine("expected", ...MOSES), engine("mine", ...MOSES, "--fault", "token.extra-bos")],
      report: ["compare", file("expected"), file("mine"), "--model", MODEL],
    },
    nan: {
      before: [engine("nan", ...MOSES, "--fault", "memory.nan@blk.1.attn_out")],
      report: ["audit", file("nan"), "--model", MODEL],
    },
    text: {
      before: [
        llamacpp("text", ...GENESIS, "-n", "4"),
        engine("texted", ...GENESIS, "-n", "4", "--taps", "!rope.*", "--fault", "kv.slot-plus-one@blk.0.attn_scores"),
      ],
      report: ["compare", file("text"), file("texted"), "--model", MODEL],
    },
  };

function faultline(args: readonly string[]): void {
  const { status, stderr } = spawnSync(process.execPath, [join(root, "dist/src/cli/main.js"), ...args, "--quiet"], {
    cwd: folder,
    encoding: "utf8",
  });
  if (status !== 0 && status !== 1) throw new Error(`${args.join(" ")}: ${stderr}`);
}

mkdirSync(out, { recursive: true });
for (const [name, { before, report }] of Object.entries(STORIES)) {
  for (const args of before) faultline(args);
  const page = join(out, name);
  faultline([...report, "--html", `${page}.html`, "--md", `${page}.md`]);
  process.stdout.write(`${name}\n`);
}
rmSync(folder, { recursive: true });
