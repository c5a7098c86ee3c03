/** The commands as a user runs them, on the embedded model: what they print, what they write, their JSON documents. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { demoSchema } from "../../src/report/demo.ts";
import { doctorSchema } from "../../src/report/doctor.ts";
import { inspectSchema } from "../../src/report/inspect.ts";
import { tokensSchema } from "../../src/report/tokens.ts";
import { generationSchema, traceSummarySchema } from "../../src/report/trace-summary.ts";
import { Trace } from "../../src/trace/reader.ts";
import { PROGRAM } from "../support/program.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const folder = mkdtempSync(join(tmpdir(), "faultline-cli-"));

function faultline(...args: string[]): string {
  const command = [PROGRAM, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: root, encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return stdout;
}

describe("commands", () => {
  it("trace writes what it says, and inspect reads it", async () => {
    const path = join(folder, "a.arrow");
    const out = faultline(
      "trace",
      MODEL,
      "-p",
      "And it came to pass",
      "-n",
      "3",
      "-o",
      path,
      "--capture",
      "full",
      "--json",
    );
    const summary = traceSummarySchema.parse(JSON.parse(out));
    expect(summary.steps).toBe(4);
    expect(summary.generated.length).toBe(4);
    const trace = await Trace.open(path);
    expect(trace.records.length).toBe(summary.records);
    expect(summary.records).toBe(4 * (3 + 4 * 17 + 2));
    expect(trace.manifest.tokens).toEqual([summary.prompt, ...summary.generated.slice(0, 3).map((id) => [id])]);
    expect(trace.manifest.model.sha256).toBe("5d952efc5e0ac6813fe70d2a5b2d753055376f64b91835fef78aa04dd29c13a6");
    expect(trace.records.every((record) => record.hasValues && record.hasSketch)).toBe(true);
    await trace.close();

    const text = faultline("inspect", path);
    expect(text).toContain("blk.3.output");
    expect(text).not.toContain("\u001b");
    const document = inspectSchema.parse(
      JSON.parse(faultline("inspect", path, "--step", "2", "--tap", "blk.1.*", "--json")),
    );
    expect(document.taps.length).toBe(17);
    expect(document.growth.map((row) => row.tap)).toContain("final_norm");
  });

  it("the oracle's trace has the engine's taps and nearly its numbers", async () => {
    const [gpu, oracle] = [join(folder, "gpu.arrow"), join(folder, "oracle.arrow")];
    const args = ["trace", MODEL, "--tokens", "256,10,11", "-n", "1", "--taps", "blk.0.*,logits,rope.*"];
    faultline(...args, "-o", gpu);
    faultline(...args, "-o", oracle, "--device", "oracle");
    const [a, b] = [await Trace.open(gpu), await Trace.open(oracle)];
    expect(a.records.map((record) => record.tap)).toEqual(b.records.map((record) => record.tap));
    for (const [i, record] of a.records.entries()) {
      const other = b.records[i]?.statistics.rms ?? 0;
      expect(Math.abs(record.statistics.rms - other) / other, record.tap).toBeLessThan(1e-5);
    }
    expect(b.records.at(-1)?.dtype).toBe("f64");
    await Promise.all([a.close(), b.close()]);
  });

  it("weights are taps when they are named, and only then", async () => {
    const path = join(folder, "weights.arrow");
    faultline("trace", MODEL, "--tokens", "1", "--taps", "weight:blk.0.*,embed", "-o", path);
    const trace = await Trace.open(path);
    expect(trace.records.map((record) => record.tap).filter((tap) => tap.startsWith("weight:")).length).toBe(9);
    expect(trace.records.at(-1)?.tap).toBe("embed");
    await trace.close();
  });

  it("without the KV cache every step runs the whole sequence and chooses the same tokens", () => {
    const run = (...extra: string[]) =>
      traceSummarySchema.parse(
        JSON.parse(
          faultline("trace", MODEL, "-p", "In the", "-n", "4", "-o", join(folder, "kv.arrow"), "--json", ...extra),
        ),
      );
    expect(run("--no-kv-cache").generated).toEqual(run().generated);
  });

  it("generate repeats itself for a seed, and streams the text it reports", () => {
    const args = [
      "generate",
      MODEL,
      "-p",
      "The",
      "-n",
      "12",
      "--temperature",
      "1",
      "--top-k",
      "40",
      "--top-p",
      "0.9",
      "--seed",
      "5",
    ];
    const document = generationSchema.parse(JSON.parse(faultline(...args, "--json")));
    expect(document.generated.length).toBe(12);
    expect(faultline(...args)).toBe(`${document.text}\n`);
  });

  it("tokens, doctor and demo", () => {
    const tokens = tokensSchema.parse(JSON.parse(faultline("tokens", MODEL, "-p", "God said", "--json")));
    expect(tokens.pieces.join("")).toBe("<s>God said");
    const doctor = doctorSchema.parse(JSON.parse(faultline("doctor", "--json")));
    expect(doctor.findings.filter((finding) => finding.needed).map((finding) => finding.state)).not.toContain(
      "missing",
    );
    const demo = faultline("demo", "-o", join(folder, "demo"));
    expect(demo).toContain("the earth");
    expect(demo).toContain("3 of 3 verdicts are as planted");
    expect(readFileSync(join(folder, "demo/report.txt"), "utf8")).toContain(">> origin  blk.2.q_rope");
    const document = demoSchema.parse(JSON.parse(faultline("demo", "-o", join(folder, "demo"), "--json")));
    expect(document.runs.map(({ comparison }) => comparison.first?.tap ?? null)).toEqual([
      null,
      "blk.2.ffn_gate",
      "blk.2.q_rope",
    ]);
  });

  it("every command has help with an example", () => {
    for (const command of [
      ...["bisect", "trace", "reference", "import", "compare", "inspect", "determinism"],
      ...[
        "generate",
        "tokens",
        "faults",
        "doctor",
        "demo",
        "lens",
        "kv",
        "quant",
        "kernels",
        "audit",
        "diagnose",
        "replay",
      ],
    ]) {
      expect(faultline(command, "--help")).toMatch(/Examples?:\n {2}faultline/);
    }
  });
});
