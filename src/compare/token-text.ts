/** Texts of token pieces, and how two texts can be the same but for a normal form. */

/** Pieces as one text, with SentencePiece's sign for a space as a space. */
export const joined = (pieces: readonly string[]) => pieces.join("").replaceAll("\u2581", " ");

/**
 * The text of some positions. Null where it is not known: a piece that stands for itself (`<17>`, of a trace without pieces), none,
 * or part of a character.
 */
export function plainText(ids: readonly number[], pieces: readonly string[], from: number, to: number): string | null {
  for (let i = from; i < to; i++) if (pieces[i] === undefined || pieces[i] === `<${ids[i]}>`) return null;
  const text = joined(pieces.slice(from, to));
  return text.includes("\uFFFD") ? null : text;
}

/** Normal forms that tokenizers bring a text into, the mildest first. */
export const NORMALISERS: readonly { readonly name: string; readonly apply: (text: string) => string }[] = [
  { name: "Unicode normalisation NFC", apply: (text) => text.normalize("NFC") },
  { name: "Unicode normalisation NFKC", apply: (text) => text.normalize("NFKC") },
  { name: "lower-casing", apply: (text) => text.toLowerCase() },
  { name: "folding white space", apply: (text) => text.replaceAll(/\s+/gu, " ") },
];

/** The first character, counted in code points, from which two texts differ. */
export function differFrom(expected: string, actual: string): number {
  const [e, a] = [[...expected], [...actual]];
  let at = 0;
  while (at < e.length && at < a.length && e[at] === a[at]) at++;
  return at;
}

/** What both texts have from their first differing character on, quoted, a few characters long. */
export function differAt(expected: string, actual: string): [string, string] {
  const at = differFrom(expected, actual);
  const rest = (text: string) => {
    const characters = [...text].slice(at, at + SHOWN).join("");
    return characters === "" ? "nothing" : JSON.stringify(characters);
  };
  return [rest(expected), rest(actual)];
}

/** Characters shown from the first that differs. */
const SHOWN = 16;
