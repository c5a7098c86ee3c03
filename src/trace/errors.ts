/** Errors that are the user's to mend: one line with the thing, the numbers and the remedy. The command line prints it and exits with 2. */
export class InputError extends Error {
  override name = "InputError";
}

/** A run was asked to stop. The command line ends with 130, which `git bisect run` stops at. */
export class InterruptedError extends InputError {
  override name = "InterruptedError";
}

/** A trace file or record that cannot be read or written. */
export class TraceError extends InputError {
  override name = "TraceError";
}
