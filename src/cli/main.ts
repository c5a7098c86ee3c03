#!/usr/bin/env node
/** The command line: errors become one line and exit status 2. */
import { CommanderError } from "commander";
import { GpuTimeoutError } from "../engine/errors.ts";
import { InputError, InterruptedError } from "../trace/errors.ts";
import { oneLine, program } from "./program.ts";

/** As of a process that Ctrl-C ended; `git bisect run` stops at it. */
const INTERRUPTED = 130;
/** Could not do it: what, numbers, remedy on one line. `git bisect run` skips a commit that ends with 125. */
const COULD_NOT = process.argv.includes("--git-bisect") ? 125 : 2;

// A reader that closes the pipe early (head, less) has what it wanted: the work goes on to its exit status. A full disk has taken nothing.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") return;
  process.stderr.write(
    oneLine(`faultline: standard output cannot be written (${error.message}); give it another place`),
  );
  process.exit(COULD_NOT);
});
// What cannot be said there changes no exit status.
process.stderr.on("error", () => {});

program.parseAsync().catch((error: unknown) => {
  process.exitCode = COULD_NOT;
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) process.exitCode = 0;
  } else if (error instanceof InputError) {
    if (error instanceof InterruptedError) process.exitCode = INTERRUPTED;
    // A GPU that is still at work holds the process, whatever is left to do.
    const end = error instanceof GpuTimeoutError ? () => process.exit() : () => {};
    process.stderr.write(oneLine(`faultline: ${error.message}`), end);
  } else {
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(
      oneLine(
        `faultline: internal error: ${message.split("\n")[0]}; please report this (FAULTLINE_DEBUG=1 shows where)`,
      ),
    );
    if (process.env.FAULTLINE_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  }
});
