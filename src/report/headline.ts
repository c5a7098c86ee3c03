/** The first lines of a report: the verdict in one short sentence, what else there is to say below. */

/** A verdict, and the parts of its sentence. */
export function headline(verdict: string, [first = "", ...rest]: readonly string[]): string[] {
  return [`${verdict}: ${first}`, ...(rest.length === 0 ? [] : [`  ${rest.join("; ")}`])];
}
