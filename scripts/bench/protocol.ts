/**
 * How the benchmark speaks with what it measures: each engine is a process of its own that loads a model, prints its facts as a line
 * of JSON, then runs a round for every line that it reads and prints a line with the times.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { z } from "zod";
import { InputError } from "../../src/trace/errors.ts";

const factsSchema = z.object({
  engine: z.string(),
  /** What it really ran on, in its own words. */
  device: z.string(),
  settings: z.string(),
  software: z.boolean().optional(),
});
export type PeerFacts = z.infer<typeof factsSchema>;

const roundSchema = z.object({
  /** The prompt in one pass, up to the last row's logits in memory. */
  prefill_ms: z.number(),
  /** Each further token in a pass of its own. */
  decode_ms: z.array(z.number()),
  /** The likeliest token after each pass. */
  next: z.array(z.number()),
});
export type Round = z.infer<typeof roundSchema>;

/** The same work for every engine. */
export interface Work {
  readonly model: string;
  readonly prompt: readonly number[];
  readonly decode: readonly number[];
}

export const workParameters = ({ model, prompt, decode }: Work): string[] => [
  ...["--model", model],
  ...["--prompt", prompt.join(",")],
  ...["--decode", decode.join(",")],
];

/** A running engine. Rounds of several are to be asked one at a time: they share the machine. */
export class Peer {
  readonly facts: PeerFacts;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #reason: () => string;

  private constructor(
    facts: PeerFacts,
    child: ChildProcessWithoutNullStreams,
    lines: AsyncIterator<string>,
    reason: () => string,
  ) {
    this.facts = facts;
    this.#child = child;
    this.#lines = lines;
    this.#reason = reason;
  }

  /** Starts a program and waits until its model is loaded. Throws InputError with its last words where it ends before that. */
  static async start(program: string, parameters: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Peer> {
    const child = spawn(program, parameters, { env: { ...process.env, ...env } });
    const end = () => child.kill("SIGTERM");
    process.once("exit", end);
    let said = "it said nothing";
    createInterface(child.stderr).on("line", (line) => {
      if (line.trim() !== "" && !line.startsWith("Warning: max")) said = line.trim();
    });
    let ended = "";
    child.on("error", (error) => {
      ended = error.message;
    });
    child.on("close", (status, signal) => {
      process.off("exit", end);
      ended ||= `ended with ${signal ?? status}: ${said}`;
    });
    child.stdin.on("error", () => {}); // a pipe that broke is told by the missing answer
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const reason = () => ended || said;
    return new Peer(await answer(lines, factsSchema, reason), child, lines, reason);
  }

  /** Runs the work once, from an empty cache. `mode` is what the engine has several of. */
  round(mode = "round"): Promise<Round> {
    this.#child.stdin.write(`${mode}\n`);
    return answer(this.#lines, roundSchema, this.#reason);
  }

  /** Ends the process and waits for that. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.stdin.end();
    const slow = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
    await closed;
    clearTimeout(slow);
  }
}

/** The next line that is JSON of that form; libraries print other things now and then. */
async function answer<T>(lines: AsyncIterator<string>, schema: z.ZodType<T>, reason: () => string): Promise<T> {
  for (;;) {
    const { value, done } = await lines.next();
    if (done === true) {
      await new Promise((resolve) => setTimeout(resolve, 50)); // its last words may still be under way
      throw new InputError(reason());
    }
    if (value.startsWith("{")) return schema.parse(JSON.parse(value));
  }
}

/** The engine's side: prints the facts, then runs a round for each line that comes, until there are no more. */
export async function serve(facts: PeerFacts, round: (mode: string) => Promise<Round>): Promise<void> {
  console.log(JSON.stringify(facts));
  for await (const mode of createInterface(process.stdin)) console.log(JSON.stringify(await round(mode)));
}

/** Times a run of passes: `step` runs tokens at a position and gives the last row's logits. */
export async function timeRound(
  { prompt, decode }: Work,
  step: (posStart: number, tokens: readonly number[]) => Promise<ArrayLike<number>>,
  argmax: (logits: ArrayLike<number>) => number,
): Promise<Round> {
  const times: number[] = [];
  const next: number[] = [];
  for (const [i, tokens] of [prompt, ...decode.map((token) => [token])].entries()) {
    const started = performance.now();
    const logits = await step(i === 0 ? 0 : prompt.length + i - 1, tokens);
    times.push(performance.now() - started);
    next.push(argmax(logits));
  }
  const [prefill_ms = Number.NaN, ...decode_ms] = times;
  return { prefill_ms, decode_ms, next };
}
