/**
 * Every command of the documents runs as it stands there, in the order of its page, and ends as the page says: with 0, or with the N of
 * a comment's `(exit status N)`. Blocks of `sh` and `yaml` (its `run:`) are commands, `ts` (types checked too) and `python` programs. What is not
 * run stands in NOT_RUN or ELSEWHERE with its reason. MODEL is the embedded model where it will do: it has no chat template.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { type Workplace, workplace } from "../../scripts/investigations/workplace.ts";
import { type Block, blocksOf, type Line, linesOf, PAGES, root, textOf } from "../support/markdown-pages.ts";

/** Lines of shell by page and pattern. An entry that no line matches fails. */
const NOT_RUN: readonly (readonly [page: string, line: RegExp, reason: string])[] = [
  ["README.md", /^scripts\/demo\.sh/, "set-up, then `faultline demo`, which test/cli/commands.test.ts runs"],
  ["README.md", /^scripts\/test\.sh/, "is what runs this test"],
  ["README.md", /^npx faultline kernels$/, "test/compare/kernels.test.ts judges the same cases"],
  [
    "docs/benchmarks.md",
    /^npm run bench/,
    "an hour of an idle machine, or an NVIDIA GPU; test/bench.test.ts runs its parts",
  ],
  ["docs/python.md", /^pip install/, "fetches packages; scripts/fetch.sh has pinned ones"],
  ["docs/python.md", /^export PYTHONPATH/, "test/references/python-page.test.ts runs the page"],
  ["docs/python.md", /^faultline/, "test/references/python-page.test.ts runs the page"],
  ["models/README.md", /^apt-get install/, "as root, from a mirror: the texts that the model was trained on"],
  ["models/README.md", /^uv run/, "trains the model for half an hour"],
];

/** Blocks by page and language that another test runs, which must name the page. */
const ELSEWHERE: readonly (readonly [page: string, language: string, test: string])[] = [
  ["docs/python.md", "python", "test/references/python-page.test.ts"],
  ["docs/bundles.md", "python", "test/cli/replay.test.ts"],
  ...["python", "cpp", "rust"].map(
    (each) => ["docs/writing-a-dumper.md", each, "test/references/writing-a-dumper.test.ts"] as const,
  ),
  ...PAGES.filter((page) => page.startsWith("docs/investigations/") && textOf(page).includes("```console")).map(
    (page) => [page, "console", "test/investigations/pages.test.ts"] as const,
  ),
];

/** What stands on a page to be read. It may hold no command. */
const READ = ["", "text", "json"];

const MODEL = "models/faultline-tiny-f16.gguf";
const TRACE = `faultline trace model.gguf -p "Once upon a time" -n 2 --capture full`;
const DUMP = `
sed 's|head % self.kv_heads|head // (self.heads // self.kv_heads)|' docs/examples/tiny_engine.py > engine.py
python engine.py model.gguf 256,1057,261,1907,1079,415 3 my-dump`;
/** What a page takes for granted: commands before its first. */
const GIVEN: Readonly<Record<string, string>> = {
  "README.md": `${DUMP}
${TRACE} --fault rope.pairing@blk.2.q_rope -o faulty.arrow
faultline audit faulty.arrow --model model.gguf --bundle bundles # (exit status 1)
mv bundles/blk.2.q_rope-step0 bundle
cp bundle/expected.npy mended.npy`,
  "docs/writing-a-dumper.md": DUMP,
  "docs/reports.md": `${TRACE} --device oracle -o reference.arrow
${TRACE} -o mine.arrow`,
  "docs/your-own-suite.md": `${TRACE} --device oracle -o reference.arrow
${TRACE} -o ours.arrow
sed 's/scale \\* gain\\[e\\]/gain[e] * scale/' kernels/rms_norm.wgsl > mine/rms_norm.wgsl`,
};

/** A checkout as a reader has it after the set-up, with an earlier one beside it. */
class Checkout {
  readonly #place: Workplace;
  readonly cwd: string;
  readonly #variables: Record<string, string> = {};

  constructor() {
    this.#place = workplace({});
    this.cwd = join(this.#place.cwd, "checkout");
    mkdirSync(join(this.cwd, "mine"), { recursive: true });
    mkdirSync(join(this.cwd, "node_modules"));
    mkdirSync(join(this.#place.cwd, "before"));
    const links = {
      ...{ models: "models", docs: "docs", kernels: "kernels", "model.gguf": MODEL, "../before/kernels": "kernels" },
      "node_modules/faultline": "",
      ...Object.fromEntries(["vitest", "@types"].map((name) => [`node_modules/${name}`, `node_modules/${name}`])),
    };
    for (const [name, target] of Object.entries(links)) symlinkSync(join(root, target), join(this.cwd, name));
  }

  remove(): void {
    rmSync(this.#place.cwd, { recursive: true, force: true });
  }

  run(program: string, args: readonly string[], variables: NodeJS.ProcessEnv = {}) {
    // A vitest that a document runs is not this one's worker.
    const inherited = Object.entries(process.env).filter(([name]) => !/^(VITEST|NODE_ENV$|NODE_OPTIONS$)/.test(name));
    const env = { ...Object.fromEntries(inherited), PATH: this.#place.path, NO_COLOR: "1", ...variables };
    return spawnSync(program, args, {
      cwd: this.cwd,
      encoding: "utf8",
      env: { ...env, GITHUB_STEP_SUMMARY: "page.md" },
    });
  }

  /** Runs a line; NAME=VALUE names a file that exists and is kept for the lines below. */
  shell(command: string) {
    const [, name] = /^([A-Z]+)=\S+$/.exec(command) ?? [];
    const small = command.includes("--chat") ? {} : { MODEL };
    const found = this.run("bash", ["--norc", "-c", name === undefined ? command : `${command}; ls $${name}`], {
      ...this.#variables,
      ...small,
    });
    if (name !== undefined) this.#variables[name] = found.stdout.trim();
    return found;
  }
}

const isElsewhere = ({ page, language }: Block) => ELSEWHERE.some(([of, name]) => of === page && name === language);
const isLeftOut = (page: string, { command }: Line) =>
  NOT_RUN.some(([of, pattern]) => of === page && pattern.test(command));

const steps = z.array(z.looseObject({ run: z.string() }));

/** How a block is run, by its language: what it is, and how it ended beside how it should have. */
const RUNNERS: Readonly<Record<string, (block: Block, checkout: Checkout) => void>> = {
  sh: ({ page, place, ...block }, checkout) => {
    for (const line of linesOf({ page, place, ...block })) {
      if (isLeftOut(page, line)) continue;
      const { status, stdout, stderr } = checkout.shell(line.command);
      const said = status === line.status ? "" : `${stdout}${stderr}`;
      expect({ place, ...line, status, said }).toEqual({ place, ...line, said: "" });
    }
  },
  yaml: (block, checkout) => {
    for (const { run } of steps.parse(parse(block.text))) RUNNERS.sh?.({ ...block, text: run }, checkout);
  },
  ts: ({ place, text }, checkout) => {
    const isTest = text.includes('from "vitest"');
    const file = `block-${place.split(":")[1]}${isTest ? ".test" : ""}.mts`;
    writeFileSync(join(checkout.cwd, file), text);
    const types = [
      "--noEmit",
      "--strict",
      "--skipLibCheck",
      "--target",
      "es2023",
      "--module",
      "nodenext",
      "--types",
      "node",
    ];
    const tools = [
      ["typescript/bin/tsc", ...types],
      isTest ? ["vitest/vitest.mjs", "run", "--root", "."] : ["tsx/dist/cli.mjs"],
    ];
    for (const [tool = "", ...options] of tools) {
      const args = [join(root, "node_modules", tool), ...options, file];
      const { status, stdout, stderr } = checkout.run(process.execPath, args);
      expect({ place, tool, status }, `${stdout}${stderr}`).toEqual({ place, tool, status: 0 });
    }
  },
  python: ({ place, text }, checkout) => {
    const { status, stderr } = checkout.run("python", ["-c", text]);
    expect({ place, status, stderr }).toEqual({ place, status: 0, stderr: "" });
  },
};

describe("what the documents tell one to run", () => {
  const pages = PAGES.map((page) => ({
    page,
    blocks: blocksOf(page).filter((block) => !READ.includes(block.language) && !isElsewhere(block)),
  })).filter(({ page, blocks }) =>
    blocks.some((block) => block.language !== "sh" || linesOf(block).some((line) => !isLeftOut(page, line))),
  );
  it.each(pages)("commands of $page", { timeout: 900_000 }, ({ page, blocks }) => {
    const checkout = new Checkout();
    try {
      const given = { place: `given to ${page}`, page, language: "sh", text: GIVEN[page] ?? "" };
      for (const block of [given, ...blocks]) {
        const runner = RUNNERS[block.language];
        if (runner === undefined) throw new Error(`${block.place}: nothing runs blocks of ${block.language}`);
        runner(block, checkout);
      }
    } finally {
      checkout.remove();
    }
  });
});

describe("what is not run here", () => {
  it.each(NOT_RUN)("%s: %s (%s)", (page, pattern) => {
    const lines = blocksOf(page).flatMap((block) => (block.language === "sh" ? linesOf(block) : []));
    expect(lines.filter(({ command }) => pattern.test(command))).not.toEqual([]);
  });

  it.each(ELSEWHERE)("%s: %s in %s", (page, language, test) => {
    expect(blocksOf(page).filter((block) => block.language === language)).not.toEqual([]);
    expect(textOf(test)).toContain(test.includes("investigations") ? dirname(page) : page);
  });

  it("blocks to be read hold no command", () => {
    const lines = PAGES.flatMap((page) => blocksOf(page))
      .filter(({ language }) => READ.includes(language))
      .flatMap(({ place, text }) => text.split("\n").map((line) => ({ place, line })));
    expect(lines.filter(({ line }) => /^(\$ |npx |npm |scripts\/\w|faultline [a-z])/.test(line))).toEqual([]);
  });
});
