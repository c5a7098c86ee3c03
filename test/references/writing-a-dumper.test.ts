/** The examples of docs/writing-a-dumper.md run as they stand there, and all three make the same trace. */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { dumpSchema } from "../../references/dump-schema.ts";
import { mapSchema } from "../../references/maps/map-schema.ts";
import { cached } from "../support/cache.ts";
import { imported, newFolder, scratchFolder } from "../support/dump-builder.ts";

const PAGE = readFileSync(join(import.meta.dirname, "../../docs/writing-a-dumper.md"), "utf8");
afterAll(() => rmSync(scratchFolder, { recursive: true }));

/** The code blocks of a language. */
function blocks(language: string): string[] {
  return [...PAGE.matchAll(/^```(\w+)\n(.*?)^```$/gms)].flatMap(([, name, text = ""]) =>
    name === language ? [text] : [],
  );
}

function run(folder: string, program: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { cwd: folder, encoding: "utf8" });
  expect({ program, status, stderr, error }).toEqual({ program, status: 0, stderr: "", error: undefined });
}

interface Example {
  readonly language: string;
  readonly file: string;
  readonly make: (folder: string) => void;
  /** The tool that a machine may lack; the others are part of the set-up. */
  readonly needs?: string;
}

const EXAMPLES: readonly Example[] = [
  { language: "python", file: "dump.py", make: (folder) => run(folder, cached("python/bin/python"), "dump.py") },
  {
    language: "cpp",
    file: "dump.cpp",
    make: (folder) => {
      run(folder, "g++", "-std=c++17", "-Wall", "-o", "dump", "dump.cpp");
      run(folder, "./dump");
    },
  },
  {
    language: "rust",
    file: "dump.rs",
    needs: "rustc",
    make: (folder) => {
      run(folder, "rustc", "--edition=2021", "-o", "dump", "dump.rs");
      run(folder, "./dump");
    },
  },
];

/** Hashes of the trace that an example's dump becomes, by step and tap. */
async function hashesOf({ language, file, make }: Example): Promise<Record<string, string>> {
  const [text = "", ...others] = blocks(language);
  expect(others).toEqual([]);
  const folder = newFolder();
  writeFileSync(join(folder, file), text);
  make(folder);
  const { facts, trace, records } = await imported(join(folder, "my-dump"));
  expect(facts).toMatchObject({ records: 4, steps: 2, ignored: [], unknown: [], replaced: [], leftOut: [] });
  expect(trace.manifest).toMatchObject({ producer: { name: "my-engine" }, tokens: [[1, 2, 3], [4]] });
  const embed = [1, 2, 3].flatMap((id) => [0, 1, 2, 3].map((c) => (((id * 7 + c * 3) % 11) - 5) / 8));
  expect([...(records.get("embed")?.values ?? [])]).toEqual(embed);
  return Object.fromEntries(trace.records.map(({ step, tap, hash }) => [`${step} ${tap}`, hash.toString(16)]));
}

describe("the examples", () => {
  const traces = new Map<string, Record<string, string>>();
  for (const example of EXAMPLES) {
    const { language, needs } = example;
    const missing = needs !== undefined && spawnSync(needs, ["--version"]).error !== undefined;
    it(`${language} writes a dump`, async (context) => {
      if (missing) context.skip(`${needs} is not installed`);
      traces.set(language, await hashesOf(example));
    });
  }

  it("make the same trace", () => {
    const [first, ...others] = [...traces.values()];
    expect(others.length).toBeGreaterThan(0);
    for (const other of others) expect(other).toEqual(first);
    expect(Object.keys(first ?? {})).toEqual(["0 embed", "0 blk.0.attn_norm", "1 embed", "1 blk.0.attn_norm"]);
    expect(new Set(Object.values(first ?? {})).size).toBe(4);
  });
});

describe("the JSON of the page", () => {
  it("is a dump, and a map", () => {
    const documents = blocks("json").flatMap((text) =>
      text.includes("faultline_statistics") ? [] : [JSON.parse(text)],
    );
    expect(documents.map((each) => Object.keys(each)[0])).toEqual(["faultline_dump", "faultline_map"]);
    dumpSchema.parse(documents[0]);
    mapSchema.parse(documents[1]);
  });

  it("is a file of statistics", async () => {
    const [text = ""] = blocks("json").filter((block) => block.includes("faultline_statistics"));
    const path = join(newFolder(), "page.jsonl");
    writeFileSync(path, text);
    const { records } = await imported(path);
    expect(records.get("embed")).toMatchObject({ shape: [2, 64], statistics: { mean: 0.01, rms: 0.1, count: 128 } });
  });
});
