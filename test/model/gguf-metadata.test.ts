// The metadata reader against @huggingface/gguf where that one is right, and against bytes where it is not.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gguf } from "@huggingface/gguf";
import { afterAll, describe, expect, it } from "vitest";
import { readGgufMetadata } from "../../src/model/gguf-metadata.ts";
import { vocabularyPath } from "../support/vocabularies.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-gguf-"));
afterAll(() => rmSync(folder, { recursive: true }));

const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value: number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const string = (text: string | Buffer) => Buffer.concat([u64(Buffer.from(text).length), Buffer.from(text)]);

function file(...parts: readonly Buffer[]): string {
  const path = join(folder, `${Math.random()}.gguf`);
  writeFileSync(path, Buffer.concat(parts));
  return path;
}

const header = (entries: number, version = 3) => [Buffer.from("GGUF"), u32(version), u64(0), u64(entries)];

describe("readGgufMetadata", () => {
  it("reads every value type", () => {
    const path = file(
      ...header(7),
      ...[string("i8"), u32(1), Buffer.from([0xff])],
      ...[string("u16"), u32(2), Buffer.from([0x01, 0x02])],
      ...[string("f32"), u32(6), Buffer.from(Float32Array.of(0.5).buffer)],
      ...[string("bool"), u32(7), Buffer.from([1])],
      ...[string("u64"), u32(10), u64(7)],
      ...[string("f64"), u32(12), Buffer.from(Float64Array.of(0.1).buffer)],
      ...[string("nested"), u32(9), u32(9), u64(2), u32(4), u64(1), u32(9), u32(8), u64(1), string("é")],
    );
    expect(readGgufMetadata(path)).toEqual({
      i8: -1,
      u16: 0x0201,
      f32: 0.5,
      bool: true,
      u64: 7n,
      f64: 0.1,
      nested: [[9], ["é"]],
    });
  });

  it("keeps a leading U+FEFF", () => {
    expect(readGgufMetadata(file(...header(1), string("k"), u32(8), string("\uFEFF//")))).toEqual({ k: "\uFEFF//" });
  });

  it("agrees with @huggingface/gguf but for that mark", async () => {
    const path = vocabularyPath("llama-spm");
    const theirs: Record<string, unknown> = { ...(await gguf(path, { allowLocalFile: true })).metadata };
    const ours = readGgufMetadata(path);
    const withoutMarks: Record<string, unknown> = JSON.parse(JSON.stringify(ours).replaceAll('"\uFEFF', '"'));
    for (const [key, value] of Object.entries(withoutMarks)) expect({ [key]: theirs[key] }).toEqual({ [key]: value });
    expect(Object.keys(ours).length).toBe(Object.keys(theirs).length - 3); // its version and two counts
  });

  it("names a file that is no GGUF, is damaged, or ends early", () => {
    const messageOf = (path: string) => {
      try {
        return readGgufMetadata(path);
      } catch (error) {
        return String(error).replace(path, "m.gguf");
      }
    };
    expect([
      messageOf(file(...header(0, 1))),
      messageOf(file(Buffer.from("PK\u0003\u0004, a zip and nothing else"))),
      messageOf(file(...header(1), string("k"), u32(13), u64(0))),
      messageOf(file(...header(1), string("k"), u32(8), u64(99))),
      messageOf(file(...header(1), string("k"), u32(4))),
    ]).toMatchInlineSnapshot(`
      [
        "ModelError: m.gguf: begins "GGUF" version 1, not "GGUF" version 2 or 3 little-endian; convert the model again",
        "ModelError: m.gguf: begins "PK\\u0003\\u0004" version 543236140, not "GGUF" version 2 or 3 little-endian; convert the model again",
        "ModelError: m.gguf: value type 13, but GGUF has 0 to 12 before byte 37 of 45; the file is damaged, download it again",
        "ModelError: m.gguf: a length of 99 before byte 45 of 45; the file is damaged, download it again",
        "ModelError: m.gguf: ends at byte 37, amid metadata that go on to 41; download it again",
      ]
    `);
  });
});
