/** `--quiet` and pipes: standard output holds the result alone, standard error nothing, and no colours where nobody asked for them. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { widthOf } from "../../src/report/clip.ts";
import { plain } from "../../src/report/colors.ts";
import { expectRefused } from "../support/cli.ts";
import { PROGRAM } from "../support/program.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const folder = mkdtempSync(join(tmpdir(), "faultline-pipes-"));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

const FAULT = ["--fault", "rope.pairing@blk.2.q_rope"];
const PROMPT = ["-p", "Once upon a time"];
const run = (args: readonly string[], variables: Readonly<Record<string, string>> = {}) => {
  const { NO_COLOR: _no, FORCE_COLOR: _force, CI: _ci, ...rest } = process.env;
  const { stdout, stderr, status } = spawnSync(process.execPath, [PROGRAM, ...args], {
    ...{ cwd: folder, encoding: "utf8", env: { ...rest, ...variables } },
  });
  // The GPU library writes two warnings of its own.
  const errors = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("Warning: max"));
  return { stdout, status, errors };
};

beforeAll(() => {
  run(["trace", MODEL, ...PROMPT, "-n", "2", "--capture", "full", "-o", "right.arrow", "-q"]);
  run(["trace", MODEL, ...PROMPT, "-n", "2", "--capture", "full", "-o", "wrong.arrow", "-q", ...FAULT]);
  run(["audit", "wrong.arrow", "--model", MODEL, "--bundle", "bundle", "-q"]);
});

/** Commands with `--quiet`, and how their first line begins. */
const COMMANDS: readonly (readonly [RegExp, ...string[]])[] = [
  [/^new\.arrow: \d+ records/, "trace", MODEL, ...PROMPT, "-n", "1", "-o", "new.arrow"],
  [/^onnx\.arrow: \d+ records/, "reference", "onnx", MODEL, ...PROMPT, "-n", "1", "-o", "onnx.arrow"],
  [/^divergent: /, "compare", "right.arrow", "wrong.arrow"],
  [/^divergent: /, "compare", "right.arrow", "wrong.arrow", "--model", MODEL],
  [/^divergent: /, "audit", "wrong.arrow", "--model", MODEL],
  [/^blk\.2\.q_rope of step 0/, "replay", "bundle/blk.2.q_rope-step0"],
  [/^divergent: /, "diagnose", "wrong.arrow", "--model", MODEL],
  [/^divergent: /, "bisect", MODEL, "--against", "onnx", ...PROMPT, ...FAULT],
  [/^right\.arrow: \d+ records/, "inspect", "right.arrow"],
  [/^divergent: departs from the reference/, "inspect", "wrong.arrow", "--vs", "right.arrow"],
  [/^right\.arrow: \d+ records/, "inspect", "right.arrow", "--model", MODEL],
  [/^no collapse: /, "lens", MODEL, ...PROMPT],
  [/^match: /, "kv", MODEL, ...PROMPT],
  [/^deterministic: /, "determinism", MODEL, ...PROMPT],
  [/^divergent: the texts part/, "generate", MODEL, ...PROMPT, "-n", "4", "--against", "onnx", ...FAULT],
  [/^\d+ tokens: /, "tokens", MODEL, ...PROMPT],
  [/^alike: /, "tokens", MODEL, "--against", "right.arrow"],
  [/^pass: /, "kernels", "--filter", "rms_norm wide"],
];

describe("in a pipe", () => {
  it.each(COMMANDS.map(([begins, ...args]) => ({ begins, args, name: args.map((each) => basename(each)).join(" ") })))(
    "the result alone: $name",
    ({ begins, args }) => {
      const { stdout, errors } = run([...args, "--quiet"]);
      expect(errors).toEqual([]);
      expect(stdout).toMatch(begins);
      expect(stdout.split("\n")[0]?.length).toBeLessThan(400);
      expect(stdout).not.toContain("\u001b");
      expect(stdout).not.toContain("a wider terminal");
    },
  );

  it("colours come by FORCE_COLOR, not over NO_COLOR, and say nothing that words do not", () => {
    const compare = ["compare", "right.arrow", "wrong.arrow", "-q"];
    const [bare, forced, no] = [{}, { FORCE_COLOR: "1" }, { FORCE_COLOR: "1", NO_COLOR: "1" }].map((each) =>
      run(compare, each as Record<string, string>),
    );
    expect(forced?.stdout).toContain("\u001b[");
    expect(plain(forced?.stdout ?? "")).toBe(bare?.stdout);
    expect(no?.stdout).toBe(bare?.stdout);
    expect(run(compare, { CI: "1" }).stdout).toBe(bare?.stdout);
  });
});

describe("an exit status", () => {
  const compare = `'${process.execPath}' '${PROGRAM}' compare right.arrow wrong.arrow -q`;
  const statusOf = (line: string) =>
    spawnSync("bash", ["-o", "pipefail", "-c", line], { cwd: folder, encoding: "utf8" });

  it("is the verdict's where the reader of the result has gone", () => {
    expect(statusOf(`${compare} | true`)).toMatchObject({ status: 1, stderr: "" });
    expect(statusOf(`${compare} --html /dev/stdout | true`)).toMatchObject({ status: 1, stderr: "" });
  });

  it.skipIf(!existsSync("/dev/full"))(
    "is no verdict where the result, or what went wrong, could not be written",
    () => {
      const { status, stderr } = statusOf(`${compare} --json > /dev/full`);
      expect(stderr).toMatch(/^faultline: standard output cannot be written \(ENOSPC.*\n$/);
      expect(status).toBe(2);
      expect(statusOf(`${compare} --git-bisect > /dev/full`).status).toBe(125);
      expect(statusOf(`'${process.execPath}' '${PROGRAM}' inspect nothing.arrow 2> /dev/full`).status).toBe(2);
    },
  );
});

describe("reports", () => {
  it("go to a plain file: a pipe that nobody reads, and standard output beside --json, are refused", () => {
    execFileSync("mkfifo", [at("pipe")]);
    const compare = ["compare", at("right.arrow"), at("wrong.arrow")];
    expectRefused([...compare, "--html", at("pipe")], /pipe: is no plain file; give one, or a new name/);
    expectRefused(
      [...compare, "--json", "--md", "/dev/stdout"],
      /--md \/dev\/stdout: --json prints its document there/,
    );
    expect(run([...compare, "-q", "--md", "/dev/stdout"]).stdout).toMatch(/# .*divergent(?:.|\n)*\ndivergent: /);
    expect(run([...compare, "-q", "--json", "--html", "/dev/null"]).status).toBe(1);
  });
});

describe.skipIf(!existsSync("/usr/bin/script"))("in a terminal", () => {
  const inTerminal = (columns: number, args: readonly string[]) => {
    const words = [process.execPath, PROGRAM, ...args].map((word) => `'${word}'`).join(" ");
    return spawnSync("script", ["-qec", `stty cols ${columns} rows 40; ${words}`, "/dev/null"], {
      ...{ cwd: folder, encoding: "utf8", input: "" },
    }).stdout.replaceAll("\r\n", "\n");
  };

  it.each([60, 80])("tables fit %d columns", (columns) => {
    const text = plain(inTerminal(columns, ["compare", "right.arrow", "wrong.arrow", "-q"]));
    const from = text.indexOf("\ntap ");
    const lines = text.slice(from + 1).split("\n");
    const rows = lines.slice(
      0,
      lines.findIndex((line) => line.startsWith("a wider terminal shows")),
    );
    expect(rows.length).toBeGreaterThan(10);
    for (const line of rows) expect(widthOf(line), line).toBeLessThanOrEqual(columns);
  });

  it("progress comes and goes, and hides no cursor", () => {
    const audit = ["audit", "wrong.arrow", "--model", MODEL];
    const text = inTerminal(80, audit);
    expect(text).toMatch(/auditing +0\.0 s/);
    expect(text).not.toContain("\u001b[?25l");
    expect(text).not.toContain("\u001b[?7l");
    expect(inTerminal(80, [...audit, "-q"])).not.toMatch(/auditing/);
  });
});
