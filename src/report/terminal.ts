/** How wide the terminal is that a report is printed to: the one place that asks, so that no report hands a width on. */
let given: number | undefined;

/** Characters of a line; without end where standard output is no terminal, or one that does not say: a pipe gets tables whole. */
export function terminalWidth(): number {
  if (given !== undefined) return given;
  const { isTTY, columns } = process.stdout;
  return isTTY && columns > 0 ? columns : Number.POSITIVE_INFINITY;
}

/** What `make` gives for a terminal of `width` characters, whatever the real one is: for files, and for tests. */
export function atWidth<T>(width: number, make: () => T): T {
  const before = given;
  given = width;
  try {
    return make();
  } finally {
    given = before;
  }
}
