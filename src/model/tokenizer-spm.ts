// SentencePiece as llama.cpp does it: of all neighbours whose join is a token, join those whose token scores highest,
// the leftmost first; what no token covers becomes bytes.
//
// Our own, because @huggingface/tokenizers has only rank-based merges: it would have to derive 32000 tokens' worth of
// pairs from the scores, and HuggingFace's derived pairs break ties in another order.
import { ModelError } from "./errors.ts";
import type { Vocabulary } from "./vocabulary.ts";

interface Join {
  readonly left: number; // index of a symbol
  readonly right: number;
  readonly score: number;
  readonly size: number; // UTF-16 units of both when the join was proposed
}

/** Ids of a text in which "▁" already stands for space. */
export function encodeSpm(vocabulary: Vocabulary, text: string): number[] {
  const symbols = Array.from(text);
  const next = symbols.map((_, index) => (index + 1 < symbols.length ? index + 1 : -1));
  const previous = symbols.map((_, index) => index - 1);
  const joins = new JoinHeap();
  const symbolAt = (index: number): string => symbols[index] ?? "";

  const propose = (left: number, right: number): void => {
    if (left < 0 || right < 0) return;
    const joined = symbolAt(left) + symbolAt(right);
    const id = vocabulary.idOf.get(joined);
    if (id !== undefined) joins.push({ left, right, score: vocabulary.scores[id] ?? 0, size: joined.length });
  };

  for (let right = 1; right < symbols.length; right++) propose(right - 1, right);
  for (let join = joins.pop(); join !== undefined; join = joins.pop()) {
    const { left, right } = join;
    const stale =
      symbolAt(left) === "" || symbolAt(right) === "" || symbolAt(left).length + symbolAt(right).length !== join.size;
    if (stale) continue;
    symbols[left] = symbolAt(left) + symbolAt(right);
    symbols[right] = "";
    const after = next[right] ?? -1;
    next[left] = after;
    if (after >= 0) previous[after] = left;
    propose(previous[left] ?? -1, left);
    propose(left, after);
  }
  return symbols.flatMap((symbol) => (symbol === "" ? [] : idsOfSymbol(vocabulary, symbol)));
}

/** Every joined symbol is a token; only a single character can fail to be one. */
function idsOfSymbol(vocabulary: Vocabulary, symbol: string): number[] {
  const id = vocabulary.idOf.get(symbol);
  if (id !== undefined) return [id];
  return Array.from(Buffer.from(symbol), (byte) => {
    const name = `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
    const byteId = vocabulary.idOf.get(name);
    if (byteId !== undefined) return byteId;
    throw new ModelError(
      `tokenizer.ggml.tokens: neither "${symbol}" nor its byte ${name} is a token; ` +
        "the vocabulary cannot write this text, leave the character out",
    );
  });
}

/** Best score first; of equals, the leftmost. */
class JoinHeap {
  readonly #joins: Join[] = [];

  push(join: Join): void {
    let at = this.#joins.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.#joins[parent];
      if (above === undefined || !precedes(join, above)) break;
      this.#joins[at] = above;
      at = parent;
    }
    this.#joins[at] = join;
  }

  pop(): Join | undefined {
    const top = this.#joins[0];
    const last = this.#joins.pop();
    const size = this.#joins.length;
    if (last === undefined || size === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = this.#joins[child];
      const other = this.#joins[child + 1];
      if (below !== undefined && other !== undefined && precedes(other, below)) {
        child += 1;
        below = other;
      }
      if (below === undefined || !precedes(below, last)) break;
      this.#joins[at] = below;
      at = child;
    }
    this.#joins[at] = last;
    return top;
  }
}

function precedes(a: Join, b: Join): boolean {
  return a.score > b.score || (a.score === b.score && a.left < b.left);
}
