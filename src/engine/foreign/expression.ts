/**
 * Small sums over an op's facts: `ceil(rows / 16)`, `columns % 32 == 0`. Numbers, names, + - * / %, brackets, comparisons (1 or 0),
 * and ceil, floor, min, max. Nothing else runs: a description of a kernel is data.
 */
import { InputError } from "../../trace/errors.ts";

/** Facts by name. */
export type Facts = Readonly<Record<string, number>>;

export interface Expression {
  readonly text: string;
  readonly of: (facts: Facts) => number;
}

type Value = Expression["of"];

const FUNCTIONS: Readonly<Record<string, (...values: number[]) => number>> = {
  ceil: Math.ceil,
  floor: Math.floor,
  min: Math.min,
  max: Math.max,
};
type Operator = (a: number, b: number) => number;
/** Loosest first; those of a level are taken from left to right. */
const LEVELS: readonly Readonly<Record<string, Operator>>[] = [
  {
    "==": (a, b) => Number(a === b),
    "!=": (a, b) => Number(a !== b),
    "<=": (a, b) => Number(a <= b),
    ">=": (a, b) => Number(a >= b),
    "<": (a, b) => Number(a < b),
    ">": (a, b) => Number(a > b),
  },
  { "+": (a, b) => a + b, "-": (a, b) => a - b },
  { "*": (a, b) => a * b, "/": (a, b) => a / b, "%": (a, b) => a % b },
];
const WORD = /\s*([a-z_]\w*|\d+(?:\.\d+)?(?:e[+-]?\d+)?|[=!<>]=|[-+*/%<>(),])/iy;
/** No expression of a kernel is longer; brackets cannot pile up. */
const LONGEST = 200;

/** Reads an expression over the facts `names`. Throws InputError with the expression and what is wrong with it. */
export function parseExpression(text: string, names: readonly string[]): Expression {
  const refuse = (why: string) => new InputError(`"${text.slice(0, LONGEST)}": ${why}`);
  if (text.length > LONGEST) throw refuse(`${text.length} characters; an expression has at most ${LONGEST}`);
  const words = wordsOf(text, refuse);
  let at = 0;
  const taken = (word: string) => words[at] === word && ++at > 0;
  const close = () => {
    if (!taken(")")) throw refuse(at < words.length ? `")" expected before "${words[at]}"` : `a ")" is missing`);
  };

  const level = (index: number): Value => {
    const operators = LEVELS[index];
    if (operators === undefined) return single();
    let left = level(index + 1);
    for (;;) {
      const operator = Object.hasOwn(operators, words[at] ?? "") ? operators[words[at] ?? ""] : undefined;
      if (operator === undefined) return left;
      at++;
      const [a, b] = [left, level(index + 1)];
      left = (facts) => operator(a(facts), b(facts));
    }
  };
  const single = (): Value => {
    const word = words[at++];
    if (word === undefined) throw refuse("ends where a value is expected");
    if (word === "-") {
      const value = single();
      return (facts) => -value(facts);
    }
    if (word === "(") {
      const value = level(0);
      close();
      return value;
    }
    if (/^\d/.test(word)) return () => Number(word);
    const call = Object.hasOwn(FUNCTIONS, word) ? FUNCTIONS[word] : undefined;
    if (call !== undefined && taken("(")) {
      const values = [level(0)];
      while (taken(",")) values.push(level(0));
      close();
      return (facts) => call(...values.map((value) => value(facts)));
    }
    if (!names.includes(word)) throw refuse(`no "${word}" here; there are ${names.join(", ")}`);
    return (facts) => facts[word] ?? Number.NaN;
  };

  const of = level(0);
  if (at < words.length) throw refuse(`"${words[at]}" is not expected there`);
  return { text, of };
}

function wordsOf(text: string, refuse: (why: string) => InputError): string[] {
  const words: string[] = [];
  WORD.lastIndex = 0;
  while (WORD.lastIndex < text.trimEnd().length) {
    const at = WORD.lastIndex;
    const found = WORD.exec(text);
    if (found === null) throw refuse(`"${text.slice(at).trim()[0]}" is not part of an expression`);
    words.push(found[1] ?? "");
  }
  return words;
}
