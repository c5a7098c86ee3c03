/** Dumps that are damaged or lie: one line that says what is wrong, and nothing left behind. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { InputError } from "../../src/trace/errors.ts";
import {
  type DumpSpec,
  f32Bytes,
  imported,
  newFolder,
  npyBytes,
  refusal,
  safetensorsBytes,
  scratchFolder,
  tensor,
  writeDump,
} from "../support/dump-builder.ts";
import { PROGRAM } from "../support/program.ts";

afterAll(() => rmSync(scratchFolder, { recursive: true }));

const values = [1, 2, 3, 4, 5, 6];
const good = tensor("embed", [2, 3], values);
const bytes = npyBytes({ shape: [2, 3], data: f32Bytes(values) });
const ofArray = (array: Uint8Array) => refusal(writeDump({ tensors: [{ name: "embed", array }] }));

/** A file of numpy's with this header text. */
function withHeader(text: string, length = text.length, version = 1): Uint8Array {
  const start = Buffer.alloc(version === 1 ? 10 : 12);
  start.write("\x93NUMPY", "latin1");
  start[6] = version;
  if (version === 1) start.writeUInt16LE(length, 8);
  else start.writeUInt32LE(length, 8);
  return Buffer.concat([start, Buffer.from(text, "latin1"), f32Bytes(values)]);
}

describe("arrays", () => {
  it("cut short anywhere", async () => {
    for (let length = 0; length < bytes.length; length += 3)
      expect(await ofArray(bytes.subarray(0, length))).toMatch(/0\.npy: /);
    expect(await ofArray(bytes.subarray(0, bytes.length - 1))).toMatch(
      /shape \(2, 3\) of <f4 takes \d+; write it with/,
    );
    expect(await ofArray(Buffer.concat([bytes, Buffer.alloc(1)]))).toMatch(/bytes long, shape \(2, 3\)/);
  });

  it("of types and orders that are not read", async () => {
    for (const type of [">f4", "<c8", "|u1", "<i8", "=f4", "toString"]) {
      const array = npyBytes({ shape: [2, 3], data: f32Bytes(values), type });
      expect(await ofArray(array)).toContain(`0.npy: elements of type ${type}; write it with numpy.save`);
    }
    const fortran = npyBytes({ shape: [2, 3], data: f32Bytes(values), fortran: true });
    expect(await ofArray(fortran)).toMatch(/0\.npy: in Fortran order; write it/);
    const u2 = npyBytes({ shape: [2, 3], data: f32Bytes([1, 2, 3]), type: "<u2" });
    expect(await ofArray(u2)).toMatch(/tensor 0 \(embed\) has elements of type u2, .* only where dtype says bf16$/);
  });

  it("with headers that are none", async () => {
    expect(await ofArray(withHeader("{}", 65535))).toMatch(/no descr or no shape/);
    expect(await ofArray(withHeader("{}", 4294967295, 2))).toMatch(/a header of 4294967295 bytes/);
    for (const shape of ["-2, -3", "2.5, 3", "1e999, 3", "9007199254740993, 2", "nan, 3", "4294967296, 4294967296"]) {
      const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }\n`;
      expect(await ofArray(withHeader(text))).toMatch(/0\.npy: /);
    }
    expect(await ofArray(withHeader("{'descr': [('a', '<f4')], 'shape': (2, 3), }\n"))).toMatch(/no descr/);
  });

  it("of any bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), fc.nat(bytes.length), async (noise, at) => {
        const array = Buffer.from(bytes);
        array.set(noise.subarray(0, array.length - at), at);
        try {
          await imported(writeDump({ tensors: [{ name: "embed", array }] }));
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("with no elements", async () => {
    const empty = (shape: number[]) => tensor("embed", shape, []);
    for (const shape of [[0], [0, 3], [2, 0], [2, 0, 4]])
      expect(await refusal(writeDump({ tensors: [empty(shape)] }))).toMatch(
        /none of the 1 tensors can be imported: embed has no elements; dump their values$/,
      );
    const { facts } = await imported(writeDump({ tensors: [empty([0, 3]), tensor("final_norm", [2, 3], values)] }));
    expect(facts).toMatchObject({ records: 1, leftOut: [{ name: "embed", reason: "has no elements" }] });
  });
});

describe("places", () => {
  const at = (file: string) => refusal(writeDump({ tensors: [{ ...good, entry: { file } }] }));

  it("outside the folder", async () => {
    const outside = newFolder();
    writeFileSync(join(outside, "x.npy"), bytes);
    for (const file of ["../x.npy", join(outside, "x.npy"), "a/../../x.npy", ".."])
      expect(await at(file)).toContain(`lies outside the folder (${file}); give a path inside it`);
    for (const [link, target] of [["file", join(outside, "x.npy")] as const, ["way", outside] as const]) {
      const folder = writeDump({ tensors: [{ ...good, entry: { file: link === "way" ? "way/x.npy" : "file" } }] });
      symlinkSync(target, join(folder, link));
      expect(await refusal(folder)).toMatch(/lies outside the folder/);
    }
  });

  it("inside the folder, however it is named", async () => {
    const folder = writeDump({ tensors: [{ ...good, entry: { file: "..x/../0.npy" } }] });
    mkdirSync(join(folder, "..x"));
    expect((await imported(folder)).facts.records).toBe(1);
    symlinkSync(folder, `${folder}-link`);
    expect((await imported(`${folder}-link`)).facts.records).toBe(1);
  });

  it("that are no files", async () => {
    expect(await at("none.npy")).toMatch(/none\.npy: no such file, or not readable; dump\.json names it$/);
    expect(await at(".")).toMatch(/not a file; dump\.json names it$/);
    const folder = writeDump({ tensors: [{ ...good, entry: { file: "pipe" } }] });
    execFileSync("mkfifo", [join(folder, "pipe")]);
    expect(await refusal(folder)).toMatch(/pipe: not a file; dump\.json names it$/);
    const empty = newFolder();
    expect(await refusal(empty)).toMatch(/dump\.json: no such file, or not readable; a dump folder has one/);
    execFileSync("mkfifo", [join(empty, "dump.json")]);
    expect(await refusal(empty)).toMatch(/dump\.json: not a file/);
    expect(await refusal(join(empty, "dump.json"))).toMatch(/no such file or folder; give a folder with dump\.json/);
  });
});

describe("dump.json", () => {
  it("that is not JSON, or another thing", async () => {
    const folder = newFolder();
    const cases = { "": "not JSON", '{"a"': "not JSON", "[]": "dump: ", null: "dump: ", "3": "dump: " };
    for (const [text, message] of Object.entries(cases)) {
      writeFileSync(join(folder, "dump.json"), text);
      expect(await refusal(folder)).toContain(`dump.json: ${message}`);
    }
  });

  const FIELDS: readonly [field: string, spec: Partial<DumpSpec>][] = [
    ["faultline_dump", { facts: { faultline_dump: 2 } }],
    ["producer", { facts: { producer: "me" } }],
    ["producer.name", { facts: { producer: {} } }],
    ["producer.version", { facts: { producer: { name: "x", version: 1 } } }],
    ["producer.device", { facts: { producer: { name: "x", device: [] } } }],
    ["producer.dtype", { facts: { producer: { name: "x", dtype: null } } }],
    ["producer.settings.a", { facts: { producer: { name: "x", settings: { a: {} } } } }],
    ["names", { facts: { names: 5 } }],
    ["model.file", { facts: { model: { file: 1 } } }],
    ["model.architecture", { facts: { model: { architecture: 1 } } }],
    ["prompt", { facts: { prompt: 5 } }],
    ["steps", { steps: [] }],
    ["steps.0.pos_start", { steps: [{ pos_start: -1, tokens: [1] }] }],
    ["steps.0.tokens", { steps: [{ pos_start: 0, tokens: [] }] }],
    ["steps.0.tokens.1", { steps: [{ pos_start: 0, tokens: [1, 1.5] }] }],
    ["steps.0", { steps: [{ pos_start: 0, tokens: [1], more: 1 }] }],
    ["tensors", { tensors: [] }],
    ["tensors.0.seq", { tensors: [{ ...good, entry: { seq: -1 } }] }],
    ["tensors.0.step", { tensors: [{ ...good, entry: { step: "0" } }] }],
    ["tensors.0.name", { tensors: [{ ...good, entry: { name: "" } }] }],
    ["tensors.0.op", { tensors: [{ ...good, entry: { op: 1 } }] }],
    ["tensors.0.weight", { tensors: [{ ...good, entry: { weight: 1 } }] }],
    ["tensors.0.file", { tensors: [{ ...good, entry: { file: "" } }] }],
    ["tensors.0.dtype", { tensors: [{ ...good, entry: { dtype: 1 } }] }],
    ["tensors.0", { tensors: [{ ...good, entry: { extra: 1 } }] }],
    ["dump", { facts: { extra: 1 } }],
  ];
  it.each(FIELDS)("with a wrong %s", async (field, spec) => {
    const message = await refusal(writeDump({ tensors: [good], ...spec }));
    expect(message).toMatch(
      new RegExp(`dump\\.json: ${field.replaceAll(".", "\\.")}(:| is missing).*; see docs/writing-a-dumper\\.md$`),
    );
    expect(message).not.toContain("\n");
  });

  it("with steps that are not there, or leave a gap", async () => {
    expect(await refusal(writeDump({ tensors: [{ ...good, entry: { step: 1 } }] }))).toMatch(
      /tensor 0 \(embed\) is of step 1, but there are 1 step; list every forward pass$/,
    );
    const steps = [
      { pos_start: 0, tokens: [1, 2] },
      { pos_start: 3, tokens: [3] },
    ];
    expect(await refusal(writeDump({ steps, tensors: [good] }))).toMatch(
      /step 1 starts at position 3, but steps before it end at 2; list every forward pass$/,
    );
    const late = [{ pos_start: 9007199254740991, tokens: [1] }];
    expect(await refusal(writeDump({ steps: late, tensors: [good] }))).toMatch(/step 0 starts at position 9007/);
  });

  it("of an unknown map, architecture or depth", async () => {
    expect(await refusal(writeDump({ tensors: [good], facts: { names: "vllm" } }))).toMatch(/vllm: no such map; names/);
    expect(await refusal(writeDump({ tensors: [good], facts: { model: { architecture: "toString" } } }))).toMatch(
      /architecture "toString" is not known; llama is$/,
    );
    const deep = tensor("blk.99999999999.output", [2, 3], values);
    expect(await refusal(writeDump({ tensors: [deep] }))).toMatch(/is of layer 99999999999; 4096 layers are the most$/);
    expect(await refusal(writeDump({ tensors: [tensor("constructor", [2, 3], values)] }))).toMatch(
      /is a tap by the names/,
    );
  });

  it("of 10,000 tensors", async () => {
    const folder = writeDump({ tensors: [good] });
    const taps = ["attn_norm", "attn_out", "attn_residual", "ffn_norm", "output"];
    const tensors = Array.from({ length: 10_000 }, (_, i) => ({
      name: `blk.${Math.floor(i / taps.length)}.${taps[i % taps.length]}`,
      file: "0.npy",
    }));
    const dump = { faultline_dump: 1, producer: { name: "x" }, steps: [{ pos_start: 0, tokens: [1, 2] }], tensors };
    writeFileSync(join(folder, "dump.json"), JSON.stringify(dump));
    const started = performance.now();
    const { facts, trace } = await imported(folder);
    expect(facts.records).toBe(10_000);
    expect(trace.records.at(-1)).toMatchObject({ tap: "blk.1999.output", layer: 1999 });
    expect(performance.now() - started).toBeLessThan(60_000);
    tensors.push({ name: "embed", file: "1.npy" });
    writeFileSync(join(folder, "dump.json"), JSON.stringify({ ...dump, tensors }));
    expect(await refusal(folder)).toMatch(/1\.npy: no such file/);
  });

  it("whose array becomes shorter while it is read", async () => {
    const folder = writeDump({ tensors: [good] });
    const { openSource } = await import("../../references/import/open-source.ts");
    const content = openSource(folder).tensors[0]?.content;
    truncateSync(join(folder, "0.npy"), bytes.length - 4);
    expect(() => content?.kind === "values" && content.read()).toThrow(/became shorter while it was read; dump again$/);
  });
});

describe(".safetensors files", () => {
  const f32 = { dtype: "F32", shape: [2, 3], data: f32Bytes(values) };
  const tokens = [[1, 2]];
  const of = (content: Uint8Array, options = {}) => {
    const path = join(newFolder(), "x.safetensors");
    writeFileSync(path, content);
    return refusal(path, { tokens, ...options });
  };

  it("cut short anywhere", async () => {
    const whole = safetensorsBytes({ embed: f32 });
    for (let length = 0; length < whole.length; length += 5)
      expect(await of(whole.subarray(0, length))).toMatch(/x\.safe/);
    expect(await of(whole.subarray(0, whole.length - 1))).toMatch(/ends at byte 24 of 23; the file is cut short/);
  });

  it("whose headers lie", async () => {
    const huge = Buffer.alloc(100);
    huge.writeBigUInt64LE(2n ** 63n);
    expect(await of(huge)).toMatch(/100 bytes long, with a header of 9223372036854776000; it is cut short or damaged$/);
    const entry = (each: object) => of(safetensorsBytes({}, undefined, { embed: each }));
    const data_offsets = [0, 24];
    expect(await entry({ dtype: "F32", shape: [2, 3], data_offsets })).toMatch(/ends at byte 24 of 0/);
    expect(await entry({ dtype: "F32", shape: [9, 9], data_offsets })).toMatch(
      /has 24 bytes, shape \[9, 9\] of F32 takes/,
    );
    expect(await entry({ dtype: "F32", shape: [2, 3], data_offsets: [24, 0] })).toMatch(/has -24 bytes/);
    expect(await entry({ dtype: "F32", shape: [-1], data_offsets })).toMatch(/tensor embed: shape\.0: /);
    expect(await entry({ dtype: "F32", shape: [2, 3] })).toMatch(/tensor embed: data_offsets is missing/);
    expect(await entry({ dtype: "F8_E4M3", shape: [24], data_offsets })).toMatch(/elements of type F8_E4M3; F32, F16/);
    expect(await of(safetensorsBytes({}, { steps: 5 }))).toMatch(/__metadata__\.steps: /);
    expect(await of(safetensorsBytes({ embed: f32 }, { steps: "[" }))).toMatch(/__metadata__\.steps: not JSON/);
    expect(await of(safetensorsBytes({}))).toMatch(/holds no tensor/);
  });

  it("without tokens, or with two kinds of them", async () => {
    const path = join(newFolder(), "x.safetensors");
    writeFileSync(path, safetensorsBytes({ embed: f32 }));
    expect(await refusal(path)).toMatch(/does not say which tokens ran; give them with --tokens/);
    const said = safetensorsBytes({ embed: f32 }, { steps: '[{"pos_start": 0, "tokens": [1, 2]}]' });
    expect(await of(said)).toMatch(/says itself which tokens ran; leave out --tokens$/);
    expect(await of(safetensorsBytes({ "step.4.embed": f32 }))).toMatch(/is of step 4, but there are 1 step/);
  });
});

describe("the command", () => {
  const run = (...args: string[]) => {
    const folder = newFolder();
    const made = spawnSync("node", [PROGRAM, "import", ...args], {
      cwd: folder,
      encoding: "utf8",
    });
    return { ...made, left: readdirSync(folder) };
  };

  it("prints names with line feeds and escapes on one line", () => {
    const evil = "a\n\u001b[2Jb\u2028c";
    const bad = run(writeDump({ tensors: [tensor(evil, [2, 3], values)] }));
    expect(bad).toMatchObject({ status: 2, stdout: "", left: [] });
    expect(bad.stderr).toMatch(
      /^faultline: none of the 1 tensors is a tap by the names of canonical \(a \[2Jb c\)[^\n]*\n$/,
    );
    const fine = run(writeDump({ tensors: [tensor(evil, [2, 3], values), good] }));
    expect(fine).toMatchObject({ status: 0, stderr: "", left: ["imported.arrow"] });
    expect(fine.stdout).toContain("they were left out: a\\u{a}\\u{1b}[2Jb\\u{2028}c\n");
  });

  it("refuses to write over what it imports, and options that are wrong", () => {
    const path = join(newFolder(), "x.jsonl");
    writeFileSync(path, '{"name": "embed", "shape": [2, 3], "mean": 1, "rms": 1}\n');
    expect(run(path, "--tokens", "1,2", "-o", path).stderr).toMatch(
      /is what is imported; choose another place with -o\n$/,
    );
    expect(run(path, "--tokens", "1,2;").stderr).toMatch(/A whole number of at least 0 is needed/);
    expect(run(path, "--tokens", "1,2", "--taps", "nothing").stderr).toMatch(
      /no tap of x\.jsonl matches nothing; it has embed/,
    );
    expect(existsSync(path)).toBe(true);
  });

  it("prints one JSON document", () => {
    const { stdout, status } = run(writeDump({ tensors: [good, tensor("x", [1], [1])] }), "--json");
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      schema: "faultline.import/1",
      records: 1,
      unknown: ["x"],
      left_out: [],
    });
  });
});
