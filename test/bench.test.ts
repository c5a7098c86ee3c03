/** The benchmark's harness: it starts, measures engines that compute the same, says who is missing, and leaves nothing behind. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BLOCK, quantised } from "../scripts/bench/four-bits.ts";
import { Peer } from "../scripts/bench/protocol.ts";
import { median, pairedRatio } from "../scripts/bench/statistics.ts";
import { InputError } from "../src/trace/errors.ts";
import { normals } from "./support/random.ts";

const root = join(import.meta.dirname, "..");

/** Runs the harness on the embedded model with a temporary folder of its own; `left` is what it left there. */
function bench(env: NodeJS.ProcessEnv, ...args: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), "faultline-test-"));
  const small = ["--models", "embedded", "--rounds", "1", "--prompt", "4", "--steps", "2"];
  const command = ["--import", "tsx", "scripts/bench.ts", ...small, ...args];
  const options = { cwd: root, encoding: "utf8", env: { ...process.env, TMPDIR: folder, ...env } } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, command, options);
  const left = readdirSync(folder).filter((name) => name.startsWith("faultline"));
  rmSync(folder, { recursive: true });
  return { status, stdout, stderr, left };
}

const row = (page: string, label: string) => page.split("\n").find((line) => line.startsWith(`| ${label} |`)) ?? "";

describe("npm run bench", () => {
  it("measures llama.cpp beside our engine, over the same tokens", () => {
    const { status, stdout, stderr, left } = bench({}, "--only", "peers,overhead", "--peers", "llamacpp-cpu");
    expect({ status, left }, stderr).toEqual({ status: 0, left: [] });
    expect(row(stdout, "faultline")).toMatch(/ tokens\/s\) \| 1 \| 1 \|/);
    // Three passes, the same likeliest token after each.
    expect(row(stdout, "llama.cpp CPU")).toMatch(/tokens\/s\).*x \(.* to .*\) \| 3\/3 \|/);
    for (const level of ["untraced", "stats", "sketch", "full"]) expect(row(stdout, level)).toContain("tokens/s");
  });

  it("says who cannot be had, and goes on", () => {
    const { status, stdout, left } = bench({ CXX: "no-such-compiler" }, "--only", "peers", "--peers", "llamacpp-cpu");
    expect({ status, left }).toEqual({ status: 0, left: [] });
    expect(row(stdout, "faultline")).toContain("tokens/s");
    expect(row(stdout, "llama.cpp CPU")).toBe("");
    expect(stdout).toMatch(/^- not measured: llama\.cpp CPU: .*no C\+\+ compiler named no-such-compiler/m);
  });

  it("refuses what it does not know in one line", () => {
    expect(bench({}, "--peers", "nobody")).toMatchObject({ status: 2, stdout: "", left: [] });
  });
});

describe("a peer", () => {
  const program = (code: string) => Peer.start(process.execPath, ["-e", code]);

  it("that ends before its model is loaded is an error with its last words", async () => {
    const started = program('console.log("loading"); console.error("no such model"); process.exit(2)');
    await expect(started).rejects.toThrow(new InputError("ended with 2: no such model"));
  });

  it("is asked for one round at a time, and ends when it is closed", async () => {
    const facts = '{"engine":"e","device":"d","settings":"s"}';
    const round = '{"prefill_ms":2,"decode_ms":[1],"next":[7,8]}';
    const peer = await program(`console.log('${facts}'); process.stdin.on("data", () => console.log('${round}'))`);
    expect(peer.facts).toEqual({ engine: "e", device: "d", settings: "s" });
    expect(await peer.round()).toEqual({ prefill_ms: 2, decode_ms: [1], next: [7, 8] });
    await peer.close();
    await expect(peer.round()).rejects.toThrow("ended with 0");
  });
});

describe("figures", () => {
  it("takes the middle, or the mean of the two in the middle", () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toEqual([2, 2.5, Number.NaN]);
  });

  it("takes ratios within a round", () => {
    expect(pairedRatio([2, 40, 6], [1, 10, 2])).toEqual({ median: 3, least: 2, most: 4 });
  });

  it("rounds weights to 4 bits within half a step of each block", () => {
    const [rows, columns] = [3, 3 * BLOCK]; // an odd count of blocks: a row's zero points end within a byte
    const values = normals(1, rows * columns, 0.5);
    const { quants, scales, zeros } = quantised(values, columns);
    const nibble = (bytes: Uint8Array, i: number) => ((bytes[i >> 1] ?? 0) >> (4 * (i & 1))) & 15;
    const off = values.map((value, i) => {
      const block = Math.floor(i / BLOCK);
      const [row, column] = [Math.floor(block / 3), block % 3];
      const scale = scales[block] ?? Number.NaN;
      return Math.abs(scale * (nibble(quants, i) - nibble(zeros, 4 * row + column)) - value) / scale;
    });
    // Half a step of the value, and half of the zero point where that cuts off an end.
    expect(Math.max(...off)).toBeLessThanOrEqual(1);
    expect(median([...off])).toBeLessThan(0.3);
  });
});
