/** numpy comparing two traces, in a process of its own that is kept for all rounds. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import { InputError } from "../../src/trace/errors.ts";
import { PYTHON } from "./places.ts";

const answerSchema = z.object({ open_ms: z.number(), compare_ms: z.number(), pairs: z.number() });

export class Numpy {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  #last = "it said nothing";

  /** Throws InputError where there is no Python with what it takes. */
  constructor(traces: readonly [expected: string, actual: string]) {
    if (!existsSync(PYTHON))
      throw new InputError("no Python with pyarrow and numpy in the cache; run scripts/fetch.sh");
    this.#child = spawn(PYTHON, [join(import.meta.dirname, "compare_numpy.py"), ...traces]);
    this.#child.on("error", () => {}); // no answer comes
    this.#child.stdin.on("error", () => {});
    this.#answers = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
    createInterface(this.#child.stderr).on("line", (line) => {
      this.#last = line;
    });
  }

  /** Opens and compares once. Throws InputError with Python's last words where it broke down. */
  async round(): Promise<{ readonly ms: number; readonly pairs: number }> {
    this.#child.stdin.write("\n");
    const { value, done } = await this.#answers.next();
    if (done === true) throw new InputError(`numpy broke down: ${this.#last}`);
    const { open_ms, compare_ms, pairs } = answerSchema.parse(JSON.parse(value));
    return { ms: open_ms + compare_ms, pairs };
  }

  close(): void {
    this.#child.stdin.end();
  }
}
