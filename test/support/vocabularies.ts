// The vocabulary-only GGUFs of llama.cpp with their test vectors, in the cache that `npm run setup` fills: the files
// models/ggml-vocab-*.gguf{,.inp,.out} of a llama.cpp checkout, in <cache>/llama.cpp-vocab/.
import { readdirSync, readFileSync } from "node:fs";
import { readGgufMetadata } from "../../src/model/gguf-metadata.ts";
import type { GgufMetadata } from "../../src/model/metadata.ts";
import { cached } from "./cache.ts";

const SEPARATOR = "\n__ggml_vocab_test__\n";

export function vocabularyPath(name: string): string {
  return cached(`llama.cpp-vocab/ggml-vocab-${name}.gguf`);
}

const read = new Map<string, GgufMetadata>();

export function vocabularyMetadata(name: string): GgufMetadata {
  const metadata = read.get(name) ?? readGgufMetadata(vocabularyPath(name));
  read.set(name, metadata);
  return metadata;
}

/** Names of all vocabularies, and of those that come with vectors. */
export function vocabularyNames(): { all: readonly string[]; withVectors: readonly string[] } {
  const named = (suffix: string) =>
    readdirSync(cached("llama.cpp-vocab"))
      .filter((file) => file.startsWith("ggml-vocab-") && file.endsWith(suffix))
      .map((file) => file.slice("ggml-vocab-".length, -suffix.length));
  return { all: named(".gguf"), withVectors: named(".gguf.out") };
}

export interface Vector {
  readonly text: string;
  readonly ids: readonly number[];
}

/** The vectors of one vocabulary: text pieces of the .inp file beside the lines of the .out file. */
export function vectorsOf(name: string): readonly Vector[] {
  const texts = readFileSync(`${vocabularyPath(name)}.inp`, "utf8").split(SEPARATOR);
  if (texts.at(-1) === "") texts.pop(); // the file ends with a separator
  const lines = readFileSync(`${vocabularyPath(name)}.out`, "utf8")
    .split("\n")
    .slice(0, -1);
  if (texts.length !== lines.length) throw new Error(`${name}: ${texts.length} texts, ${lines.length} lines of ids`);
  return texts.map((text, index) => ({
    text,
    ids: (lines[index] ?? "").trim().split(" ").filter(Boolean).map(Number),
  }));
}
