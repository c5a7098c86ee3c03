/** Files of reports: what cannot be written, or would be lost, is refused before anything is done. */
import { existsSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { expectRefused, faultline } from "../support/cli.ts";
import { dataOf } from "../support/pages.ts";
import { openTrace, recordOf } from "../support/traces.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-report-files-"));
const at = (name: string) => join(folder, name);
const MODEL = "models/faultline-tiny-f16.gguf";

beforeAll(() => {
  for (const [name, tokens] of [
    ["long", "1,200,30,411"],
    ["short", "1"],
  ] as const) {
    const { errors } = faultline(
      "trace",
      MODEL,
      "--tokens",
      tokens,
      "--capture",
      "full",
      "-o",
      at(`${name}.arrow`),
      "-q",
    );
    expect(errors).toEqual([]);
  }
  symlinkSync(at("long.arrow"), at("link.html"));
});

describe("a report file", () => {
  it("is never one that the command reads, whatever way leads there", () => {
    const before = readFileSync(at("long.arrow"));
    const compare = ["compare", at("long.arrow"), at("short.arrow")];
    expectRefused([...compare, "--html", at("long.arrow")], /would be lost; give another file/);
    expectRefused(
      [...compare, "--md", join(folder, "../", folder.split("/").at(-1) ?? "", "short.arrow")],
      /would be lost/,
    );
    expectRefused([...compare, "--html", at("link.html")], /would be lost/);
    expectRefused([...compare, "--summary", at("long.arrow")], /would be lost/);
    expectRefused(["audit", at("long.arrow"), "--model", MODEL, "--junit", MODEL], /would be lost/);
    expect(readFileSync(at("long.arrow")).equals(before)).toBe(true);
  });

  it("is one option's alone, and a file", () => {
    const compare = ["compare", at("long.arrow"), at("short.arrow")];
    expectRefused([...compare, "--html", at("x"), "--md", at("x")], /--md .*x: is what --html writes too/);
    expectRefused([...compare, "--html", `${folder}/new/`], /names no file/);
    expectRefused([...compare, "--html", folder], /is a folder/);
    expectRefused([...compare, "--html", at("missing/x.html")], /cannot be written/);
    expect(existsSync(at("x"))).toBe(false);
  });
});

it("a match of some rows says of how many, and holds no statistics of other rows beside one another", () => {
  const { status } = faultline("compare", at("long.arrow"), at("short.arrow"), "--html", at("part.html"), "-q");
  expect(status).toBe(0);
  const { sentence, ops } = dataOf(at("part.html"));
  expect(sentence).toMatch(/at 1 of 4 positions/);
  expect(ops.filter(({ expected }) => expected !== null)).toEqual([]);
});

it("a tap of a layer that no model has is refused, not built", async () => {
  const record = recordOf("blk.199000000.output", "token embd", [1, 4], Float32Array.of(1, 2, 3, 4));
  const { path } = await openTrace([record], [[1]]);
  writeFileSync(at("deep.arrow"), readFileSync(path));
  expectRefused(["compare", path, at("deep.arrow")], /a tap names layer 199000000, and layers are counted up to 4095/);
});

describe("pages of commands that judge no ops", () => {
  const forms = (name: string) => [
    "--html",
    at(`${name}.html`),
    "--md",
    at(`${name}.md`),
    "--summary",
    at(`${name}.sum`),
  ];
  const markdownOf = (name: string) => readFileSync(at(`${name}.md`), "utf8");

  it("generate --against: the sentence and the pairs of its JSON", () => {
    const fault = ["--fault", "rope.pairing@blk.2.q_rope"];
    const args = ["generate", MODEL, "--against", at("run.arrow"), ...fault, "--json", "-q", ...forms("generate")];
    const trace = ["trace", MODEL, "-p", "In the beginning", "-n", "5", "--capture", "full", "-q"];
    expect(faultline(...trace, "-o", at("run.arrow")).errors).toEqual([]);
    const { status, stdout, errors } = faultline(...args);
    expect({ status, errors }).toEqual({ status: 1, errors: [] });
    const { sentence, pairs, first } = JSON.parse(stdout);
    const report = dataOf(at("generate.html"));
    expect(report.sentence).toBe(sentence);
    const table = report.sections.find(({ id }) => id === "pairs")?.tables[0];
    expect([table?.rows.length, table?.mark]).toEqual([pairs.length, first.index]);
    expect(markdownOf("generate")).toMatch(/^### ❌ divergent: the texts part at token/);
    expect(readFileSync(at("generate.sum"), "utf8")).toMatch(/^### ❌ divergent/);
  });

  it("tokens --against: the sentence and every position", () => {
    const fault = ["--fault", "token.extra-bos"];
    const trace = faultline("trace", MODEL, "-p", "In the beginning", ...fault, "-n", "1", "-q", "-o", at("bos.arrow"));
    expect(trace.errors).toEqual([]);
    const { status, stdout } = faultline("tokens", MODEL, "--against", at("bos.arrow"), "--json", ...forms("tokens"));
    expect(status).toBe(1);
    const { against } = JSON.parse(stdout);
    const report = dataOf(at("tokens.html"));
    expect(report.sentence).toBe(against.sentence);
    const table = report.sections.find(({ id }) => id === "tokens")?.tables[0];
    expect(table?.rows.length).toBe(against.actual.ids.length);
    expect(table?.mark).toBe(against.first_difference);
    expect(markdownOf("tokens")).toMatch(/^### ❌ divergent: the tokens differ at position 1/);
  });

  it("kernels: every case, in JUnit too", () => {
    const fault = ["--filter", "rope normal", "--fault", "rope.pairing", "--no-time", "--no-onnx"];
    const files = [...forms("kernels"), "--junit", at("kernels.xml")];
    const { status, stdout } = faultline("kernels", ...fault, "--json", "-q", ...files);
    expect(status).toBe(1);
    const { cases } = JSON.parse(stdout);
    const failed = cases.filter(({ verdict }: { verdict: string }) => verdict === "fail").length;
    const xml = readFileSync(at("kernels.xml"), "utf8");
    expect(failed).toBeGreaterThan(0);
    expect(xml).toContain(`<testsuites tests="${cases.length}" failures="${failed}" skipped="0" errors="0">`);
    expect(xml).not.toContain("time=");
    const report = dataOf(at("kernels.html"));
    expect(report.sentence).toMatch(new RegExp(`^${failed} of ${cases.length} cases fail; the worst: rope `));
    expect(report.sections.find(({ id }) => id === "cases")?.tables[0]?.rows.length).toBe(cases.length);
    expect(markdownOf("kernels")).toBe(readFileSync(at("kernels.sum"), "utf8"));
  });

  it("kv: what is proved, and what the run cannot show, as the terminal has it", () => {
    const fault = ["--fault", "kv.slot-plus-one@blk.0.attn_scores"];
    const { status } = faultline("kv", MODEL, "--tokens", "1,200,30", "-n", "1", ...fault, "-q", ...forms("kv"));
    expect(status).toBe(1);
    const { sections, blindSpots } = dataOf(at("kv.html"));
    const [first = "", proof = ""] = sections.find(({ id }) => id === "faults")?.lines ?? [];
    expect(first).toMatch(/^blk\.0\.attn_scores is wrong by itself/);
    expect(proof).toMatch(/^off by relL2 .* rounding explains/);
    expect(blindSpots.map(({ id }) => id)).toContain("linear.bias-missing");
    expect(markdownOf("kv")).toContain("What this run could not have shown");
    expect(markdownOf("kv")).toContain(proof.slice(0, 30));
  });

  it("are refused where there is nothing to hold against anything, and where a case a tap makes no sense", () => {
    expectRefused(["generate", MODEL, "-p", "a", "--html", at("x")], /--html .*x: a page is of two texts; .*--against/);
    expectRefused(["tokens", MODEL, "-p", "a", "--md", at("x")], /--md .*x: a page is of two sides; .*--against/);
    expectRefused(["kernels", MODEL, "--against-kernels", "kernels", "--junit", at("x")], /--junit goes with single/);
    expectRefused(["kernels", "--wgsl", at("long.arrow"), "--as", "rope", "--html", at("long.arrow")], /would be lost/);
    expect(existsSync(at("x"))).toBe(false);
  });
});
