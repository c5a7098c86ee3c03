/** Every command and option that the documents name is one that the program has; docs/commands.md has every command. */
import { expect, it } from "vitest";
import { program } from "../../src/cli/program.ts";
import { blocksOf, inlineCode, linesOf, PAGES, textOf } from "../support/markdown-pages.ts";

const OPTIONS = new Map(
  program.commands.map((command) => [
    command.name(),
    new Set(["--help", ...command.options.flatMap(({ long, short }) => [long, short])]),
  ]),
);
const ANY = new Set(["--version", ...[...OPTIONS.values()].flatMap((options) => [...options])]);

/** Options of a command line, without what stands in quotes. */
const optionsOf = (words: string) =>
  [...words.replaceAll(/"[^"]*"|'[^']*'/g, "").matchAll(/(?<![\w-])(--?[a-z][\w-]*)/g)].map(
    ([, option = ""]) => option,
  );

/** What a page says of the program: command lines of its blocks, and code marks that begin with its name or a command's. */
const said = PAGES.flatMap((page) =>
  [...blocksOf(page).flatMap((block) => linesOf(block).map(({ command }) => command)), ...inlineCode(page)].flatMap(
    (code) => {
      const {
        1: explicit,
        2: name = "",
        3: rest = "",
      } = /^(?:\$ )?((?:npx )?faultline )?([a-z]+)(?= |$)(.*)$/.exec(code) ?? [];
      return explicit !== undefined || OPTIONS.has(name) ? [{ page, name, rest }] : [];
    },
  ),
);

it("commands and their options", () => {
  expect(said.filter(({ rest }) => optionsOf(rest).length > 0).length).toBeGreaterThan(80);
  const unknown = said.flatMap(({ page, name, rest }) => {
    const known = OPTIONS.get(name);
    if (known === undefined) return [`${page}: faultline ${name}`];
    return optionsOf(rest).flatMap((option) => (known.has(option) ? [] : [`${page}: ${name} ${option}`]));
  });
  expect(unknown).toEqual([]);
});

const alone = (page: string) =>
  inlineCode(page)
    .filter((code) => code.startsWith("-"))
    .flatMap((code) => optionsOf(code).map((option) => ({ page, option })));

it("options that stand alone, but those of other programs", () => {
  const ofOthers = ["docs/benchmarks.md", "docs/peers.md"];
  const ours = PAGES.filter((page) => !ofOthers.includes(page)).flatMap(alone);
  expect(ours.length).toBeGreaterThan(200);
  expect(ours.filter(({ option }) => !ANY.has(option))).toEqual([]);
});

it("options of the benchmark", () => {
  const source = ["bench.ts", "bench-nvidia.sh"].map((file) => textOf(`scripts/${file}`)).join("\n");
  const found = alone("docs/benchmarks.md").map(({ option }) => option);
  expect(found.length).toBeGreaterThan(5);
  const isKnown = (option: string) => new RegExp(`\\b${option.replace(/^-+/, "")}\\b`).test(source);
  expect(found.filter((option) => !ANY.has(option) && !isKnown(option))).toEqual([]);
});

it("docs/commands.md has every command, in its table", () => {
  const rows = [...textOf("docs/commands.md").matchAll(/^\| `([a-z]+)\b.*? \| .*`faultline\.[\w-]+\/\d+` \|$/gm)];
  expect([...rows.map(([, name]) => name)].sort()).toEqual([...OPTIONS.keys()].sort());
});

it("sections of docs/commands.md name the commands that have their options", () => {
  const sections = {
    Prompts: "--chat",
    "The engine": "--no-kv-cache",
    "What is recorded": "--capture",
    References: "--exact",
  };
  for (const [section, option] of Object.entries(sections)) {
    const [, names = ""] = new RegExp(`^## ${section} \\((.*)\\)$`, "m").exec(textOf("docs/commands.md")) ?? [];
    const having = [...OPTIONS].filter(([, options]) => options.has(option)).map(([name]) => `\`${name}\``);
    expect(names, section).toBe(having.join(", "));
  }
});
