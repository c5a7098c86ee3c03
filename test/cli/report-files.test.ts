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
