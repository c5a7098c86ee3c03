/** Options that several commands share, and their parsing. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { DEVICES } from "../run/options.ts";
import { CAPTURE_LEVELS, type CaptureLevel } from "../trace/capture.ts";

export interface OutputOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** A whole number of at least `least`. */
export function integer(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < least || text.trim() === "") {
      throw new InvalidArgumentError(`A whole number of at least ${least} is needed.`);
    }
    return value;
  };
}

/** A number between two bounds. */
export function number(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!(value >= least && value <= most) || text.trim() === "") {
      throw new InvalidArgumentError(`A number from ${least} to ${most} is needed.`);
    }
    return value;
  };
}

/** Globs of taps, separated by commas outside braces: `blk.{0,1}.output,logits` are two. */
export function globList(text: string): string[] {
  const globs = text.split(/,(?![^{]*\})/).map((glob) => glob.trim());
  if (globs.includes("")) throw new InvalidArgumentError("A list of taps like 'blk.0.*,logits' is needed.");
  return globs;
}

function tokenList(text: string): number[] {
  return text.split(",").map((part) => integer(0)(part));
}

/** Token ids of several steps: `1,2,3;4;5` are three. */
export function tokenSteps(text: string): number[][] {
  return text.split(";").map(tokenList);
}

export function addPromptOptions(command: Command): Command {
  return command
    .option("-p, --prompt <text>", "prompt text, tokenised as it stands")
    .option("--chat <text>", "one user message, put into the model's chat template")
    .option("--system <text>", "system message for --chat")
    .option("--tokens <ids>", "token ids instead of text, e.g. 1,15043,29991", tokenList);
}

export function addEngineOptions(command: Command): Command {
  command
    .addOption(
      new Option("--device <kind>", "where to run: an adapter, or the f64 oracle on the CPU")
        .choices(DEVICES)
        .default("auto"),
    )
    .addOption(
      new Option("--dtype <type>", "what op outputs are stored in; sums are f32 either way")
        .choices(["f32", "f16"])
        .default("f32"),
    )
    .option("--layers <spec>", "run only these layers: none, 3, 0-2 or 0-4,7")
    .option("--no-kv-cache", "run the whole sequence again at every step");
  return addFaultOption(command);
}

export function addFaultOption(command: Command): Command {
  return command.option(
    "--fault <id[@tap][:value]>",
    "plant a bug on purpose, e.g. rope.pairing@blk.2.q_rope; may be repeated; 'faultline faults' lists them",
    (text: string, before: readonly string[] = []) => [...before, text],
  );
}

/** For commands that run on an adapter alone. */
export function addDeviceOption(command: Command): Command {
  return command.addOption(
    new Option("--device <kind>", "where to run")
      .choices(DEVICES.filter((device) => device !== "oracle"))
      .default("auto"),
  );
}

export function addCaptureOptions(command: Command, level: CaptureLevel = "sketch"): Command {
  return command
    .addOption(
      new Option("--capture <level>", "stats: statistics and hash; sketch: and 16 numbers a row; full: and all values")
        .choices(CAPTURE_LEVELS)
        .default(level),
    )
    .option("--taps <globs>", "taps to record, comma-separated, e.g. 'blk.0.*,logits' or 'weight:*'", globList);
}

/** For commands that judge. The exit status itself is set in main.ts. */
export function addGitBisectOption(command: Command): Command {
  return command.option("--git-bisect", "exit with 125 for 2, which tells `git bisect run` to skip the commit");
}

/** For commands that say what a run could not show. */
export function addSuggestOption(command: Command): Command {
  return command.option("--suggest", "and the smallest prompt or setting that would show what this run cannot");
}

export function addOutputOptions(command: Command): Command {
  return command
    .option("--json", "print one JSON document instead of text")
    .option("-q, --quiet", "print only the result, no progress");
}
