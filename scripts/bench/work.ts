/** The work that an engine's process is given on its command line. */
import { parseArgs } from "node:util";
import type { Work } from "./protocol.ts";

/** Reads `--model --prompt --decode` and further options with their defaults. */
export function readWork<K extends string>(
  defaults: Readonly<Record<K, string>>,
): { work: Work; options: Record<K, string> } {
  const text = { type: "string" } as const;
  const names = Object.keys(defaults) as K[];
  const { values } = parseArgs({
    options: {
      ...{ model: text, prompt: text, decode: text },
      ...Object.fromEntries(names.map((name) => [name, text])),
    },
  });
  const given: Readonly<Record<string, string | undefined>> = values;
  const ids = (list = "") => (list === "" ? [] : list.split(",").map(Number));
  return {
    work: { model: given.model ?? "", prompt: ids(given.prompt), decode: ids(given.decode) },
    options: Object.fromEntries(names.map((name) => [name, given[name] ?? defaults[name]])) as Record<K, string>,
  };
}
