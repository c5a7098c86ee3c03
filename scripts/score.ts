/**
 * The tool's own accuracy: every fault planted at several places of two models, judged by every kind of evidence. Writes
 * docs/localisation.md: npm run score [-- --models embedded,smollm2 --sites first,middle,last --keep FILE.json]
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { SITES, type Site } from "./score/cases.ts";
import { localisationPage } from "./score/page.ts";
import { type Score, score } from "./score/run.ts";

const { values } = parseArgs({
  options: {
    models: { type: "string", default: "embedded,smollm2" },
    sites: { type: "string", default: SITES.join(",") },
    faults: { type: "string" },
    /** Each result is added to this file, and those in it are not taken again: for a run in several parts. */
    keep: { type: "string" },
    output: { type: "string", default: "docs/localisation.md" },
  },
});

const root = join(import.meta.dirname, "..");
const cache = process.env.FAULTLINE_CACHE ?? join(homedir(), ".cache", "faultline");
/** "<s> In the beginning God created the heaven and", and "Once upon a time in a small town". */
const RUNS = {
  embedded: {
    path: join(root, "models/faultline-tiny-f16.gguf"),
    prompt: [256, 1057, 261, 1907, 1079, 415, 280, 593, 285, 261, 860, 271],
    follow: [[], [261, 725]],
    references: ["llamacpp", "onnx"],
  },
  smollm2: {
    path: join(cache, "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    prompt: [1, 9690, 198, 2683, 359, 253, 5356, 5646],
    follow: [[28, 253]],
    references: ["llamacpp", "onnx"],
  },
} as const;

let all: Score = { rows: [], clean: [], left: [] };
if (values.keep !== undefined && existsSync(values.keep)) all = JSON.parse(readFileSync(values.keep, "utf8")) as Score;
const keep = (next: Score) => {
  all = next;
  if (values.keep !== undefined) writeFileSync(values.keep, JSON.stringify(all));
};

const isSite = (name: string): name is Site => SITES.some((site) => site === name);
for (const name of values.models.split(",").filter((each) => each !== "")) {
  const run = Object.entries(RUNS).find(([model]) => model === name)?.[1];
  if (run === undefined) throw new Error(`--models ${name}: there are ${Object.keys(RUNS).join(", ")}`);
  for (const follow of run.follow) {
    const steps = follow.length;
    const { clean, left } = await score({
      ...{ name, path: run.path, tokens: { prompt: run.prompt, follow }, references: run.references },
      sites: values.sites.split(",").filter(isSite),
      ...(values.faults === undefined ? {} : { ids: new RegExp(values.faults) }),
      isKnown: (site, fault) =>
        all.rows.some((row) => row.model === name && row.steps === steps && row.site === site && row.fault === fault),
      onRow: (row, done, total) => {
        keep({ ...all, rows: [...all.rows, row] });
        const said = Object.entries(row.outcomes).map(([by, { place, cause }]) => `${by} ${place} ${cause ?? ""}`);
        process.stderr.write(`${name} ${done}/${total} ${row.fault}: ${said.join("; ")}\n`);
      },
    });
    const others = all.clean.filter((row) => row.model !== name || row.steps !== steps);
    keep({ rows: all.rows, clean: [...others, ...clean], left: [...new Set([...all.left, ...left])] });
  }
}
writeFileSync(values.output, localisationPage(all, new Date().toISOString().slice(0, 10)));
