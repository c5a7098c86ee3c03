/** Folders of the commands: their own leave nothing behind, however the process ends, and -o is made or refused. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { inTemporaryFolder, madeFolder } from "../../src/cli/folders.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-folders-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const root = join(import.meta.dirname, "../..");

describe("a temporary folder", () => {
  it("is gone after the work and after its failure", async () => {
    let path = "";
    const written = (to: string) => {
      path = to;
      writeFileSync(join(to, "x"), "x");
    };
    expect(
      await inTemporaryFolder("test", async (to) => {
        written(to);
        return readdirSync(to);
      }),
    ).toEqual(["x"]);
    expect(existsSync(path)).toBe(false);
    const failing = inTemporaryFolder("test", async (to) => {
      written(to);
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect(existsSync(path)).toBe(false);
    expect(process.listeners("SIGINT")).toHaveLength(0);
  });

  it.each(["SIGINT", "SIGTERM"] as const)("is gone after %s, and so is the program that was run", async (signal) => {
    const temporary = join(folder, signal);
    mkdirSync(temporary);
    const program = `
      import { inTemporaryFolder } from ${JSON.stringify(join(root, "src/cli/folders.ts"))};
      import { runProgram } from ${JSON.stringify(join(root, "references/program.ts"))};
      const said = { onLine: (line) => console.log(line) };
      await inTemporaryFolder("test", () => runProgram("sleep", "sh", ["-c", "echo begun; sleep 1; echo x > survived"], said));`;
    const loader = join(root, "node_modules/tsx/dist/loader.mjs");
    const child = spawn(process.execPath, ["--import", loader, "--input-type=module", "-e", program], {
      env: { ...process.env, TMPDIR: temporary },
      cwd: temporary,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended = new Promise<number | null>((resolve) => void child.on("exit", resolve));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const own = () => readdirSync(temporary).filter((name) => name.startsWith("faultline-"));
    expect(own()).toHaveLength(1);
    child.kill(signal);
    expect([await ended, own()]).toEqual([130, []]);
    await sleep(1500);
    expect(existsSync(join(temporary, "survived"))).toBe(false);
  });
});

describe("the folder of -o", () => {
  it("is made with its parents, or is there already", () => {
    const path = join(folder, "a/b/c");
    expect([madeFolder(path), madeFolder(path)]).toEqual([path, path]);
    expect(existsSync(path)).toBe(true);
  });

  it("is refused where a file has its name, or where none can be made", () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    for (const path of [file, join(file, "below"), "/proc/none/below"]) {
      expect(() => madeFolder(path), path).toThrow(
        /: cannot be made a folder \(E[A-Z]+: .*\); choose another place with -o$/,
      );
    }
  });
});
