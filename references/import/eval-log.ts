/**
 * The log of llama.cpp's example `llama-eval-callback` -> a source of statistics. For each node it has one line with name, type, op,
 * sources and sizes, then some values, then their sum: an f32 sum with six decimals (llama.cpp, common/debug.cpp; builds of 2024
 * and 2025 print the same under another function's name). Nothing else of a tensor can be known from it: mean = sum / count.
 */
import { dirname } from "node:path";
import { elementsOf } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";
import { readText } from "../../src/trace/files.ts";
import { knownStatistics, type LeftOut, type Source, type SourceOptions, type SourceTensor } from "./source.ts";
import { sourceFacts } from "./source-facts.ts";

/** `common_debug_cb_eval:  NAME = (TYPE)  OP(SOURCE{ne}, SOURCE{ne}}) = {ne}`; a log prefix may stand before. */
const NODE = /\b\w+:\s+(\S.*?) = \((\w+)\)\s+(\w+)\((.*)\) = \{([\d, ]+)\}$/;
/** A line of a node has three names of at most 64 bytes, and sizes. */
const LINE_LENGTH = 1000;
const SUM = /^\s*sum = (\S+)\s*$/;
const TOKEN_COUNT = /number of input tokens = (\d+)\s*$/;
const TOKEN = /^[\d.]*\s*(?:I\s+)?(\d+)\s*$/;
/** Colours of a terminal. */
const ESCAPES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g");

/** Nodes that compute nothing, and stores into the KV cache. */
const NO_RESULT: ReadonlySet<string> = new Set(["NONE", "VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE", "SET_ROWS", "CPY"]);

interface Node {
  readonly line: number;
  readonly name: string;
  readonly type: string;
  readonly op: string;
  readonly sources: readonly string[];
  /** Row-major: ggml's ne from the last axis that is not 1 to the first. */
  readonly shape: readonly number[];
  readonly sum: number | null;
}

/** True if a text, or its beginning, is such a log. */
export function isEvalLog(text: string): boolean {
  return text.split("\n").some((line) => nodeOf(line.replaceAll(ESCAPES, "").trimEnd(), 0) !== null);
}

/** Reads a log. Its decode calls (or micro-batches) are steps. Throws InputError where tokens are missing or do not fit. */
export function readEvalLog(path: string, options: SourceOptions = {}): Source {
  const { nodes, tokens: printed } = parse(readText(path, "give the log of llama-eval-callback"));
  const graphs = splitGraphs(nodes);
  const tokens = options.tokens ?? divide(printed, graphs, path);
  if (printed.length > 0 && tokens?.flat().join() !== printed.join()) {
    throw new InputError(`${path}: prints other tokens (${printed.slice(0, 8).join(",")}...) than --tokens`);
  }
  const given = { names: "llama.cpp", producer: { name: "llama-eval-callback" } };
  const facts = sourceFacts(given, path, dirname(path), tokens === undefined ? {} : { tokens });
  if (facts.steps.length !== graphs.length) {
    throw new InputError(
      `${path}: ${graphs.length} forward passes in the log, but ${facts.steps.length} in --tokens; separate passes by ";"`,
    );
  }
  const tensors: SourceTensor[] = [];
  const leftOut: LeftOut[] = [];
  for (const [step, graph] of graphs.entries()) {
    for (const node of graph) {
      const reason = NO_RESULT.has(node.op) ? "" : whyNot(node);
      if (reason === null) tensors.push(tensorOf(node, step, path, options.dtype));
      else if (reason !== "") leftOut.push({ name: node.name, reason });
    }
  }
  return { ...facts, tensors, leftOut };
}

function parse(text: string): { nodes: Node[]; tokens: number[] } {
  const nodes: Node[] = [];
  const tokens: number[] = [];
  let expected = 0;
  for (const [index, raw] of text.replaceAll(ESCAPES, "").split("\n").entries()) {
    const line = raw.trimEnd();
    const sum = SUM.exec(line)?.[1];
    const last = nodes.at(-1);
    if (sum !== undefined && last !== undefined) nodes[nodes.length - 1] = { ...last, sum: numberOf(sum) };
    if (tokens.length < expected) {
      const id = TOKEN.exec(line)?.[1];
      if (id !== undefined) tokens.push(Number(id));
    }
    expected = Number(TOKEN_COUNT.exec(line)?.[1] ?? expected);
    const node = nodeOf(line, index + 1);
    if (node !== null) nodes.push(node);
  }
  return { nodes, tokens };
}

function nodeOf(text: string, line: number): Node | null {
  const found = text.length > LINE_LENGTH ? null : NODE.exec(text);
  if (found === null) return null;
  const [, name = "", type = "", op = "", sources = "", ne = ""] = found;
  const sizes = ne.split(",").map(Number);
  while (sizes.length > 1 && sizes.at(-1) === 1) sizes.pop();
  return { line, name, type, op, sources: sourceNames(sources), shape: sizes.reverse(), sum: null };
}

/** C prints nan and inf in either case and with either sign. */
function numberOf(text: string): number {
  const [, sign, word] = /^([+-]?)(nan|inf)/i.exec(text) ?? [];
  if (word === undefined) return Number(text);
  return /nan/i.test(word) ? Number.NaN : sign === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

/** Names before their sizes. Copies that the scheduler makes are named CPU#weight#0. */
function sourceNames(text: string): string[] {
  return [...text.matchAll(/([^{}]+)\{[\d, ]*\}/g)].map(([, name = ""]) =>
    name.replace(/^,\s*/, "").replace(/^[^#]*#(.*)#[^#]*$/, "$1"),
  );
}

/** A graph begins where its first node comes again. */
function splitGraphs(nodes: readonly Node[]): Node[][] {
  const [first] = nodes;
  const graphs: Node[][] = [];
  for (const node of nodes) {
    const isFirst = node.name === first?.name && node.op === first.op && node.sources[0] === first.sources[0];
    if (isFirst) graphs.push([]);
    graphs.at(-1)?.push(node);
  }
  return graphs;
}

/** The log's own tokens, divided among its passes: each begins with the rows of its tokens. */
function divide(tokens: readonly number[], graphs: readonly Node[][], path: string): number[][] | undefined {
  if (tokens.length === 0) return undefined;
  let end = 0;
  const steps = graphs.map(([first]) => {
    const from = end;
    end += first === undefined ? 0 : elementsOf(first.shape) / (first.shape.at(-1) ?? 1);
    return tokens.slice(from, end);
  });
  if (end === tokens.length) return steps;
  throw new InputError(
    `${path}: prints ${tokens.length} tokens, but its ${graphs.length} passes have rows of ${end}; give the passes' tokens with --tokens`,
  );
}

function whyNot({ sum, type }: Node): string | null {
  if (sum === null) return "the log has no sum of it";
  return /^[fb]/.test(type) ? null : `holds ${type}`;
}

function tensorOf({ line, name, type, op, sources, shape, sum }: Node, step: number, path: string, dtype = "f32") {
  const count = elementsOf(shape);
  const weight = sources.find((source) => /\.(weight|bias)$/.test(source)) ?? "";
  const total = sum ?? Number.NaN;
  const content = knownStatistics(count, {
    mean: Number.isFinite(total) ? total / count : Number.NaN,
    nanCount: Number.isNaN(total) ? 1 : 0,
    infCount: Math.abs(total) === Number.POSITIVE_INFINITY ? 1 : 0,
  });
  const isProduct = op === "MUL_MAT" && weight !== "";
  const where = `${path}: line ${line} (${name})`;
  return { step, name, op, weight, dtype: isProduct && type === "f32" ? dtype : type, shape, where, content };
}
