/** --fault and the list of faults, as a user runs them. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { faultsSchema } from "../../src/report/faults.ts";
import { Trace } from "../../src/trace/reader.ts";
import { PROGRAM } from "../support/program.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const folder = mkdtempSync(join(tmpdir(), "faultline-cli-"));
const TOKENS = ["--tokens", "256,10,11"];

function faultline(...args: string[]) {
  const command = [PROGRAM, ...args];
  return spawnSync(process.execPath, command, { cwd: root, encoding: "utf8" });
}

async function traced(name: string, ...args: string[]): Promise<Trace> {
  const path = join(folder, name);
  const { status, stderr } = faultline("trace", MODEL, ...TOKENS, "-n", "1", "-o", path, ...args);
  expect(status, stderr).toBe(0);
  return Trace.open(path);
}

describe("trace --fault", () => {
  it("says in the manifest what was planted, and records what came of it", async () => {
    const clean = await traced("clean.arrow");
    const faulty = await traced("faulty.arrow", "--fault", "act.relu", "--fault", "norm.eps@blk.3.ffn_norm:0.5");
    expect(clean.manifest.faults).toEqual([]);
    expect(faulty.manifest.faults).toEqual(["act.relu@blk.2.ffn_act", "norm.eps@blk.3.ffn_norm:0.5"]);
    const differs = faulty.records.find((record, i) => record.hash !== clean.records[i]?.hash);
    expect(differs).toMatchObject({ step: 0, tap: "blk.2.ffn_act" });
    await Promise.all([clean.close(), faulty.close()]);
  });

  it("changes the tokens that are run", async () => {
    const trace = await traced("tokens.arrow", "--fault", "token.extra-bos");
    expect(trace.manifest.tokens[0]).toEqual([256, 256, 10, 11]);
    expect(trace.manifest.faults).toEqual(["token.extra-bos"]);
    await trace.close();
  });

  const refused: readonly [args: string[], message: RegExp][] = [
    [["--fault", "rope.pairng"], /^faultline: no fault "rope.pairng"; nearest: rope.pairing/],
    [["--fault", "rope.pairing", "--device", "oracle"], /planted in GPU kernels; leave --device oracle out/],
    [["--fault", "kv.stale", "--no-kv-cache"], /--no-kv-cache has none/],
    [["--fault", "rope.sign", "--layers", "none"], /no op of this run has it; run more layers/],
    [["--fault", "rope.sign@blk.1.q_rope", "--layers", "0"], /no such tap; rope.sign can be planted at blk.0.q_rope/],
    [["--fault", "precision.f16-store", "--dtype", "f16"], /changes nothing with --dtype f16/],
  ];
  it.each(refused)("%s", (args, message) => {
    const path = join(folder, "refused.arrow");
    const { status, stdout, stderr } = faultline("trace", MODEL, ...TOKENS, "-o", path, ...args);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n").length).toBe(1);
    expect(existsSync(path)).toBe(false);
  });
});

describe("faults", () => {
  it("lists every fault with its sentence", () => {
    const { faults } = faultsSchema.parse(JSON.parse(faultline("faults", "--json").stdout));
    const text = faultline("faults").stdout;
    for (const { id, what } of faults) {
      expect(text).toContain(id);
      expect(text).toContain(what);
    }
    expect(faults.length).toBeGreaterThan(70);
  });

  it("generate takes them too", () => {
    const args = ["generate", MODEL, ...TOKENS, "-n", "8", "--json"];
    const text = (...more: string[]) => JSON.parse(faultline(...args, ...more).stdout).text;
    expect(text("--fault", "memory.uninitialised@final_norm")).not.toBe(text());
  });
});
