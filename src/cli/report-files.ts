/** `--html`, `--md`, `--junit`, `--model-explorer`, `--summary`: a judgement as a file, in the form that its readers have a use for. */
import type { Command } from "commander";
import type { Report } from "../report/document/schema.ts";
import { reportHtml } from "../report/formats/html.ts";
import { reportJunit } from "../report/formats/junit.ts";
import { reportMarkdown } from "../report/formats/markdown.ts";
import { modelExplorerJson } from "../report/formats/model-explorer.ts";
import { checkWritable, writePage } from "./pages.ts";

interface Format {
  readonly flag: string;
  readonly what: string;
  readonly of: (report: Report) => string;
  /** True where the file's own content stays before it. */
  readonly isAdded?: boolean;
}

const FORMATS = {
  html: { flag: "--html", what: "a report page: one file, opens from disk", of: reportHtml },
  md: { flag: "--md", what: "a report in Markdown for an issue, below 60 KB", of: reportMarkdown },
  junit: { flag: "--junit", what: "a test case a tap, in JUnit's XML", of: reportJunit },
  modelExplorer: { flag: "--model-explorer", what: "node data for Model Explorer (JSON)", of: modelExplorerJson },
  summary: {
    flag: "--summary",
    what: "add the Markdown to a file, as a job's page ($GITHUB_STEP_SUMMARY) takes it",
    of: reportMarkdown,
    isAdded: true,
  },
} as const satisfies Readonly<Record<string, Format>>;

export type ReportOptions = { readonly [K in keyof typeof FORMATS]?: string };

const wanted = (options: ReportOptions) =>
  (Object.keys(FORMATS) as (keyof typeof FORMATS)[]).flatMap((name) => {
    const path = options[name];
    return path === undefined ? [] : [{ format: FORMATS[name] as Format, path }];
  });

export function addReportOptions(command: Command): Command {
  for (const { flag, what } of Object.values(FORMATS)) command.option(`${flag} <file>`, what);
  return command;
}

/** True if any report file is asked for. */
export const wantsReport = (options: ReportOptions): boolean => wanted(options).length > 0;

/** A file that cannot be written is refused before minutes of work; it is not made yet. Throws InputError. */
export function checkReportFiles(options: ReportOptions): void {
  for (const { format, path } of wanted(options)) checkWritable(format.flag, path);
}

/** Writes what is asked for. Throws InputError where a file cannot be written. */
export function writeReportFiles(options: ReportOptions, report: Report): void {
  for (const { format, path } of wanted(options)) writePage(format.flag, path, format.of(report), format.isAdded);
}
