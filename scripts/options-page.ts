/** The reference of commands as Markdown, from the program itself. */
import type { Command, Option } from "commander";

const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("<", "&lt;").replaceAll("\n", " ");

export function optionsPage(program: Command): string {
  return [
    "# Options",
    "",
    "Every command with its arguments and options, made from the program by `npm run docs`; what they are for stands in [commands.md](commands.md).",
    "",
    ...program.commands.flatMap(commandPart),
  ].join("\n");
}

function commandPart(command: Command): string[] {
  const nested = command.commands.flatMap(commandPart);
  const rows = command.options.filter(({ hidden }) => !hidden).map(optionRow);
  const given = command.registeredArguments.map(
    (each) => `- \`${each.required ? `<${each.name()}>` : `[${each.name()}]`}\` ${cell(each.description)}`,
  );
  return [
    `## ${nameOf(command)}`,
    "",
    `${cell(command.description())}.`,
    "",
    `\`${nameOf(command)} ${command.usage()}\``,
    "",
    ...(given.length === 0 ? [] : [...given, ""]),
    ...(rows.length === 0 ? [] : ["| option | |", "|---|---|", ...rows, ""]),
    ...nested,
  ];
}

function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}

function optionRow({ flags, description, defaultValue, argChoices, mandatory }: Option): string {
  const notes = [
    ...(mandatory ? ["needed"] : []),
    ...(argChoices === undefined ? [] : [`one of ${argChoices.join(", ")}`]),
    ...(defaultValue === undefined || defaultValue === false || defaultValue === true
      ? []
      : [`${defaultValue} unless told`]),
  ];
  return `| \`${flags.replaceAll("|", "\\|")}\` | ${cell(description)}${notes.length === 0 ? "" : ` (${notes.join("; ")})`} |`;
}
