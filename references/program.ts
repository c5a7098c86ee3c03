/** Runs the small programs that other engines are reached by. What they print on stdout is for us, on stderr for people. */
import { spawn } from "node:child_process";
import { InputError } from "../src/trace/errors.ts";

export interface Listeners {
  /** Each line of stdout. */
  readonly onLine?: (line: string) => void;
  /** Each line of stderr. */
  readonly onNote?: (line: string) => void;
}

/**
 * Runs a program and gives its lines of stdout. Throws InputError with its last line of stderr where it fails, and where it breaks
 * down says so with the signal. It ends with this process, and by Ctrl-C.
 */
export function runProgram(
  what: string,
  program: string,
  parameters: readonly string[],
  { onLine = () => {}, onNote = () => {} }: Listeners = {},
): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, { stdio: ["ignore", "pipe", "pipe"] });
    let interrupted = false;
    const interrupt = () => {
      interrupted = true;
      child.kill("SIGTERM");
    };
    const listen = (on: "on" | "off") => {
      process[on]("SIGINT", interrupt);
      process[on]("SIGTERM", interrupt);
    };
    listen("on");
    const end = () => child.kill("SIGTERM");
    process.once("exit", end);
    const output = lines(child.stdout, onLine);
    const notes = lines(child.stderr, onNote);
    child.on("error", (error) => {
      listen("off");
      process.off("exit", end);
      reject(new InputError(`${what}: ${program} cannot be run: ${error.message}`));
    });
    child.on("close", (status, signal) => {
      listen("off");
      process.off("exit", end);
      if (status === 0) return resolve(output);
      // Of an assertion in C++ the file's name will do.
      const last = (notes.at(-1) ?? "it said nothing").replace(/^\/\S*\//, "");
      const broke = `${what} broke down (${signal}) in ${parameters.join(" ").slice(0, 200)}: ${last}`;
      reject(new InputError(interrupted ? `${what} was interrupted` : signal === null ? last : broke));
    });
  });
}

/** Lines kept of a stream. */
const KEPT = 1000;

/** The lines of a stream that say something, as they come; the last of them are kept. */
function lines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): string[] {
  const found: string[] = [];
  let rest = "";
  const take = (text: string) => {
    const line = text.trim();
    if (line === "") return;
    found.push(line);
    if (found.length > KEPT) found.shift();
    onLine(line);
  };
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    parts.forEach(take);
  });
  stream.on("end", () => take(rest));
  return found;
}
