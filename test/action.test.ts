/** The GitHub Action: its files are YAML that fits together, and its step, run as a runner would, gates and writes the page. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { kernelsSchema } from "../src/report/kernels.ts";
import { faultline } from "./support/cli.ts";

const root = join(import.meta.dirname, "..");
const step = z.looseObject({
  id: z.string().optional(),
  run: z.string().optional(),
  uses: z.string().optional(),
  shell: z.string().optional(),
  env: z.record(z.string(), z.string()).optional(),
  with: z.record(z.string(), z.unknown()).optional(),
});
const action = z
  .object({
    inputs: z.record(z.string(), z.object({ description: z.string(), default: z.string() })),
    outputs: z.record(z.string(), z.object({ value: z.string() })),
    runs: z.object({ using: z.literal("composite"), steps: z.array(step) }),
  })
  .parse(parse(readFileSync(join(root, "action.yml"), "utf8")));
const script = readFileSync(join(root, "scripts/action.sh"), "utf8");

describe("action.yml", () => {
  it("every input is used and every one used is there; each step that runs names its shell", () => {
    const text = readFileSync(join(root, "action.yml"), "utf8");
    const used = new Set([...text.matchAll(/inputs\.([\w-]+)/g)].map(([, name]) => name));
    expect([...used].sort()).toEqual(Object.keys(action.inputs).sort());
    for (const { run, shell } of action.runs.steps) if (run !== undefined) expect(shell).toBe("bash");
    const env = action.runs.steps.find(({ id }) => id === "kernels")?.env ?? {};
    const read = new Set([...script.matchAll(/\$\{(FAULTLINE_\w+)/g)].map(([, name]) => name));
    expect([...read].sort()).toEqual(Object.keys(env).sort());
  });

  it("every option and file that its steps name exists", () => {
    const { stdout: help } = faultline("kernels", "--help");
    const lines = script.split("\n").filter((line) => /^options=|^given --|options\+=/.test(line));
    const options = lines.flatMap((line) => line.match(/(?<=[\s(])--[a-z-]+/g) ?? []);
    expect(options.length).toBeGreaterThan(8);
    for (const option of options) expect(help, option).toMatch(new RegExp(`${option}\\b`));
    const files = action.runs.steps.flatMap(({ run }) => [...(run ?? "").matchAll(/GITHUB_ACTION_PATH\/([\w./]+)/g)]);
    expect(files.map(([, file]) => file)).toEqual(["scripts/setup.sh", "scripts/action.sh"]);
    for (const [, file] of files) expect(existsSync(join(root, file ?? ""))).toBe(true);
  });

  it("the example workflow gives inputs that there are", () => {
    const workflow = z
      .object({ jobs: z.record(z.string(), z.object({ steps: z.array(step) })) })
      .parse(parse(readFileSync(join(root, "docs/examples/kernels.yml"), "utf8")));
    const mine = Object.values(workflow.jobs).flatMap(({ steps }) => steps.filter(({ id }) => id === "faultline"));
    expect(mine).toHaveLength(1);
    for (const name of Object.keys(mine[0]?.with ?? {})) expect(Object.keys(action.inputs)).toContain(name);
  });
});

/** A repository with kernels on its main branch, and a branch that changes one. */
function repository(find: string, replace: string): string {
  const folder = mkdtempSync(join(tmpdir(), "faultline-action-"));
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@t", ...args], { cwd: folder, stdio: "pipe" });
  git("init", "-q", "-b", "main");
  mkdirSync(join(folder, "kernels"));
  const path = join(folder, "kernels/rms_norm.wgsl");
  cpSync(join(root, "kernels/rms_norm.wgsl"), path);
  git("add", "-A");
  git("commit", "-qm", "base");
  const source = readFileSync(path, "utf8");
  expect(source).toContain(find);
  writeFileSync(path, source.replace(find, replace));
  return folder;
}

/** The action's own step, as a runner runs it. */
function ran(workspace: string, inputs: Readonly<Record<string, string>>) {
  const files = mkdtempSync(join(tmpdir(), "faultline-runner-"));
  const [summary, output] = [join(files, "summary.md"), join(files, "output")];
  writeFileSync(summary, "before\n");
  const { run, env } = action.runs.steps.find(({ id }) => id === "kernels") ?? {};
  const values = Object.entries(env ?? {}).map(([name, value]) => {
    const input = /inputs\.([\w-]+)/.exec(value)?.[1] ?? "";
    return [name, inputs[input] ?? action.inputs[input]?.default ?? ""];
  });
  const runner = { GITHUB_ACTION_PATH: root, GITHUB_WORKSPACE: workspace, RUNNER_TEMP: files };
  const { status, stderr } = spawnSync("bash", ["--norc", "-c", run ?? ""], {
    encoding: "utf8",
    env: {
      ...{ ...process.env, ...Object.fromEntries(values), ...runner },
      ...{ GITHUB_STEP_SUMMARY: summary, GITHUB_OUTPUT: output },
    },
  });
  const report = /^report=(.*)$/m.exec(readFileSync(output, "utf8"))?.[1] ?? "";
  return { status, stderr, page: readFileSync(summary, "utf8"), report };
}

describe("the step", () => {
  const inputs = { kernels: "kernels", against: "main", filter: "rms_norm 7x576" };

  it("passes a right change, and tells it beside the base on a page that it adds to", () => {
    const { status, stderr, page, report } = ran(repository("scale * gain[e]", "(scale * gain[e])"), inputs);
    expect(status, stderr).toBe(0);
    expect(page).toMatch(/^before\n## Kernels: pass\n/);
    expect(page).toMatch(/8 cases of changed kernels, \d+ with the same bits/);
    expect(page).toMatch(/of 1 timed/);
    expect(page.length).toBeLessThan(60_000);
    expect(kernelsSchema.parse(JSON.parse(readFileSync(report, "utf8"))).other_version?.cases).toHaveLength(8);
  });

  it("fails a wrong one, whose cases the page names", () => {
    const { status, page } = ran(repository("/ f32(EMBD) + EPS", "/ f32(EMBD) + 2.0 * EPS"), inputs);
    expect(status).toBe(1);
    expect(page).toMatch(/## Kernels: fail\n\n\*\*\d of 8 cases fail/);
    expect(page).toMatch(/\| rms&#95;norm 7x576 F32 normal f32 .*pattern/);
  });

  it("what cannot be tried ends with 2 and says so on the page", () => {
    const folder = repository("scale", "scale");
    const unknown = ran(folder, { ...inputs, against: "nowhere" });
    expect([unknown.status, unknown.page]).toEqual([
      2,
      expect.stringMatching(/could not be tried\n\n.*no commit nowhere/),
    ]);
    const none = ran(folder, { ...inputs, "against-folder": "shaders" });
    expect([none.status, none.page]).toEqual([2, expect.stringMatching(/main has no folder shaders/)]);
    const filter = ran(folder, { filter: "nonsense" });
    expect([filter.status, filter.page]).toEqual([2, expect.stringMatching(/no case has these words/)]);
  });
});
