// From a token id to the bytes that it writes, and from bytes to text.
import { ModelError } from "./errors.ts";
import { TokenFlag } from "./token-flags.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and up, in order. */
const BYTE_OF_LETTER: ReadonlyMap<string, number> = (() => {
  const letters = new Map<string, number>();
  let shifted = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    letters.set(String.fromCharCode(printable ? byte : shifted++), byte);
  }
  return letters;
})();

/** The bytes of one token; an id outside the vocabulary is an error. */
export function tokenBytes(vocabulary: Vocabulary, id: number): Uint8Array {
  const text = vocabulary.texts[id];
  const flags = vocabulary.flags[id];
  if (text === undefined || flags === undefined) {
    throw new ModelError(
      `token ${id}: not in the vocabulary of ${vocabulary.texts.length} tokens; ` +
        "the ids come from another model, or from an embedding padded past its vocabulary; check which file made them",
    );
  }
  if ((flags & (TokenFlag.control | TokenFlag.unknown | TokenFlag.userDefined)) !== 0) return Buffer.from(text);
  if ((flags & TokenFlag.normal) !== 0) {
    const escaped = vocabulary.kind === "spm" || vocabulary.pre.plainText;
    return escaped ? Buffer.from(text.replaceAll("▁", " ")) : bytesOfLetters(text);
  }
  if ((flags & TokenFlag.byte) !== 0) return Uint8Array.of(Number.parseInt(text.slice(3, 5), 16));
  return new Uint8Array(0); // unused: llama.cpp writes nothing either
}

/** A few vocabularies hold tokens with letters outside the alphabet; llama.cpp prints a note there, we the letters. */
function bytesOfLetters(text: string): Uint8Array {
  const chunks = Array.from(text, (letter) => {
    const byte = BYTE_OF_LETTER.get(letter);
    return byte === undefined ? Buffer.from(letter) : Uint8Array.of(byte);
  });
  return Buffer.concat(chunks);
}

/** Text of bytes; what is not UTF-8 shows as U+FFFD, a leading U+FEFF stays. */
export function textOfBytes(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}
