/** The documents as text: README.md and every Markdown page below docs/ and models/, with their fenced blocks and inline code. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const root = join(import.meta.dirname, "../..");

const below = (folder: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => `${folder}/${file}`);

/** Paths from the repository's root, in the order of names, README.md first. */
export const PAGES: readonly string[] = ["README.md", ...[...below("docs"), ...below("models")].sort()];

export const textOf = (page: string) => readFileSync(join(root, page), "utf8");

export interface Block {
  /** `PAGE:LINE` of the fence. */
  readonly place: string;
  readonly page: string;
  /** The first word after the fence, empty where there is none. */
  readonly language: string;
  readonly text: string;
}

const FENCE = /^```(\S*)[^\n]*\n(.*?)^```$/gms;

export function blocksOf(page: string): Block[] {
  const text = textOf(page);
  return [...text.matchAll(FENCE)].map(({ 1: language = "", 2: body = "", index }) => ({
    place: `${page}:${text.slice(0, index).split("\n").length}`,
    page,
    language,
    text: body,
  }));
}

/** The page without its fenced blocks. */
export const proseOf = (page: string) => textOf(page).replaceAll(FENCE, "");

/** Inline code outside of fenced blocks, as it stands between its backquotes. */
export const inlineCode = (page: string) => [...proseOf(page).matchAll(/`([^`\n]+)`/g)].map(([, code = ""]) => code);

export interface Line {
  /** Without the comment behind it. */
  readonly command: string;
  /** What the comment says in the words `(exit status N)`; 0 where it says nothing. */
  readonly status: number;
}

/** The lines of a block of shell commands, comments and empty lines left out. */
export const linesOf = ({ text }: Block): Line[] =>
  text.split("\n").flatMap((line) => {
    const [command = "", comment = ""] = line.split(/(?:^|\s+)#\s/, 2);
    const [, status = "0"] = /\(exit status (\d+)\)/.exec(comment) ?? [];
    return command.trim() === "" ? [] : [{ command: command.trim(), status: Number(status) }];
  });
