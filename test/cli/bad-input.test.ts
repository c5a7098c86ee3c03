/** Bad input gets one line that names the thing, the numbers and the remedy; exit status 2; nothing half-written left behind. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tableFromArrays, tableToIPC } from "apache-arrow";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const folder = mkdtempSync(join(tmpdir(), "faultline bad ü "));
const file = (name: string, content: string | Uint8Array = "") => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

/** Dawn's native code says this on every start on lavapipe (docs/log.md). */
const withoutDawn = (stderr: string) =>
  stderr
    .split("\n")
    .filter((line) => !/^Warning: maxDynamic\w+ artificially reduced/.test(line))
    .join("\n");

const command = (args: readonly string[]) => ["--import", "tsx", "src/cli/main.ts", ...args];

function refused(args: readonly string[], env: NodeJS.ProcessEnv = {}): string {
  const before = readdirSync(folder);
  const options = { cwd: root, encoding: "utf8", env: { ...process.env, ...env } } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, command(args), options);
  const line = withoutDawn(stderr);
  expect(status, line).toBe(2);
  expect(stdout).toBe("");
  expect(line).toMatch(/^faultline: [^\n]+\n$/);
  expect(line).not.toMatch(/internal error|\n\s+at /);
  expect(readdirSync(folder)).toEqual(before);
  return line;
}

const trace = (...args: string[]) => ["trace", MODEL, "-p", "x", "-o", join(folder, "out.arrow"), ...args];

describe("one line and exit 2", () => {
  const cases: readonly [name: string, args: () => readonly string[], says: RegExp][] = [
    ["no such model", () => ["trace", join(folder, "none.gguf"), "-p", "x"], /none\.gguf: no such file/],
    ["a folder as model", () => ["trace", folder, "-p", "x"], /not a file; give the path of a GGUF model/],
    ["not a GGUF", () => ["tokens", file("text.gguf", "hello, world"), "-p", "x"], /text\.gguf: .*"hell/],
    [
      "a model cut short",
      () => ["trace", file("cut.gguf", readFileSync(MODEL).subarray(0, 4_000_000)), "-p", "x"],
      /ends at byte \d+/,
    ],
    ["no prompt", () => ["trace", MODEL], /no prompt; give one of -p TEXT/],
    ["two prompts", () => ["trace", MODEL, "-p", "a", "--tokens", "1"], /2 prompts; give one of/],
    [
      "token id out of range",
      () => ["trace", MODEL, "--tokens", "1,2048"],
      /token id 2048 is outside the vocabulary of 2048/,
    ],
    ["prompt longer than the context", () => trace("-n", "511"), /exceed the model's context of 512/],
    ["layers that the model lacks", () => trace("--layers", "2-4"), /not within 0-3/],
    ["taps that match nothing", () => trace("--taps", "blk.9.*"), /no tap matches blk\.9\.\*/],
    [
      "a folder that is not there",
      () => ["trace", MODEL, "-p", "x", "-o", join(folder, "no", "t.arrow")],
      /no such folder/,
    ],
    ["an unknown option value", () => trace("--capture", "all"), /argument 'all' is invalid/],
    ["a number that is none", () => trace("-n", "many"), /whole number/],
    ["a model without a chat template", () => ["generate", MODEL, "--chat", "hi"], /chat template/],
    ["f16 in the oracle", () => trace("--device", "oracle", "--dtype", "f16"), /oracle computes in f64/],
    ["no trace to inspect", () => ["inspect", join(folder, "none.arrow")], /no such file; make a trace/],
    ["not a trace", () => ["inspect", MODEL], /not a trace/],
    [
      "an Arrow file that is no trace",
      () => ["inspect", file("a.arrow", tableToIPC(tableFromArrays({ a: [1] }), "file"))],
      /not a trace/,
    ],
  ];
  it.each(cases)("%s", (_name, args, says) => {
    const prepared = args();
    expect(refused(prepared)).toMatch(says);
  });

  it("no adapter: says what to install and offers the oracle", () => {
    const nowhere = { VK_ICD_FILENAMES: "/nonexistent", VK_DRIVER_FILES: "/nonexistent" };
    const line = refused(trace(), nowhere);
    expect(line).toMatch(/no WebGPU adapter/);
    expect(line).toMatch(/npm run setup/);
    expect(line).toMatch(/--device oracle/);
  });

  it("a step that the trace does not have", () => {
    const path = join(folder, "step.arrow");
    spawnSync(process.execPath, command(["trace", MODEL, "--tokens", "1", "-o", path]), { cwd: root });
    expect(refused(["inspect", path, "--step", "5"])).toMatch(/no step 5; it has steps 0 to 0/);
  });
});

describe("a run that is stopped leaves what can be read", () => {
  it("Ctrl-C: exit 2, one line, a partial trace", async () => {
    const path = join(folder, "stopped.arrow");
    const args = command(["trace", MODEL, "-p", "And it came", "-n", "400", "--capture", "full", "-o", path]);
    const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const exited = new Promise<number | null>((resolve) => child.on("exit", resolve));
    while (!existsSync(`${path}.partial`)) await new Promise((resolve) => setTimeout(resolve, 50));
    await new Promise((resolve) => setTimeout(resolve, 700));
    child.kill("SIGINT");
    expect(await exited).toBe(2);
    expect(withoutDawn(stderr)).toMatch(/^faultline: interrupted after \d+ of 401 steps; [^\n]+ can be read\n$/);
    expect(existsSync(path)).toBe(false);
    const inspected = spawnSync(process.execPath, command(["inspect", `${path}.partial`]), {
      cwd: root,
      encoding: "utf8",
    });
    expect(inspected.status, inspected.stderr).toBe(0);
    expect(inspected.stdout).toContain("partial: the run did not finish");
    expect(inspected.stdout).toContain("final_norm");
  });

  it("a full disk: exit 2, one line, a partial trace", () => {
    const disk = join(folder, "disk");
    mkdirSync(disk);
    // A file size limit stands in for a full disk where a small one cannot be mounted.
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=600k", "tmpfs", disk]).status === 0;
    const run = command([
      "trace",
      MODEL,
      "-p",
      "And it came",
      "-n",
      "60",
      "--capture",
      "full",
      "-o",
      join(disk, "t.arrow"),
    ]);
    const limited = `trap '' XFSZ; ulimit -f 600; exec "$@"`;
    const [program, args] = mounted
      ? [process.execPath, run]
      : ["bash", ["-c", limited, "bash", process.execPath, ...run]];
    try {
      const { status, stderr } = spawnSync(program, args, { cwd: root, encoding: "utf8" });
      expect(status).toBe(2);
      expect(withoutDawn(stderr)).toMatch(
        /^faultline: [^\n]+ writing stopped \((disk full|file too large)\) with \d+ records; free space[^\n]+\n$/,
      );
      expect(readdirSync(disk)).toEqual(["t.arrow.partial"]);
      const partial = join(disk, "t.arrow.partial");
      const inspected = spawnSync(process.execPath, command(["inspect", partial]), { cwd: root, encoding: "utf8" });
      expect(inspected.status, inspected.stderr).toBe(0);
    } finally {
      if (mounted) spawnSync("umount", [disk]);
    }
  });

  it("a reader that has seen enough: no complaint", () => {
    const line = `"${process.execPath}" --import tsx src/cli/main.ts tokens "${MODEL}" -p "${"word ".repeat(300)}" | head -n 1`;
    const { stdout, stderr } = spawnSync("bash", ["-c", line], { cwd: root, encoding: "utf8" });
    expect(stdout).toMatch(/^\d+ tokens:/);
    expect(stderr).toBe("");
  });
});
