/** `--html`, `--md`, `--junit`, `--model-explorer`, `--summary`: a judgement as a file, in the form that its readers have a use for. */
import type { Command } from "commander";
import type { Report } from "../report/document/schema.ts";
import { reportHtml } from "../report/formats/html.ts";
import { reportJunit } from "../report/formats/junit.ts";
import { reportMarkdown } from "../report/formats/markdown.ts";
import { modelExplorerGraph, modelExplorerJson } from "../report/formats/model-explorer.ts";
import { InputError } from "../trace/errors.ts";
import type { OutputOptions } from "./options.ts";
import { checkApart, checkWritable, isStandardOutput, writePage } from "./pages.ts";
import { underway } from "./progress.ts";

interface Format {
  readonly flag: string;
  readonly what: string;
  readonly of: (report: Report) => string;
  /** True where the file's own content stays before it. */
  readonly isAdded?: boolean;
}

const FORMATS: Readonly<Record<"html" | "md" | "junit" | "modelExplorer" | "modelExplorerGraph" | "summary", Format>> =
  {
    html: { flag: "--html", what: "a report page: one file, opens from disk", of: reportHtml },
    md: { flag: "--md", what: "a report in Markdown for an issue, below 60 KB", of: reportMarkdown },
    junit: { flag: "--junit", what: "a test case a tap, in JUnit's XML", of: reportJunit },
    modelExplorerGraph: {
      flag: "--model-explorer-graph",
      what: "the ops as a graph for Model Explorer (JSON), under its node data",
      of: modelExplorerGraph,
    },
    modelExplorer: { flag: "--model-explorer", what: "node data for Model Explorer (JSON)", of: modelExplorerJson },
    summary: {
      flag: "--summary",
      what: "add the Markdown to a file, as a job's page ($GITHUB_STEP_SUMMARY) takes it",
      of: reportMarkdown,
      isAdded: true,
    },
  };

export type ReportOptions = { readonly [K in keyof typeof FORMATS]?: string };

const wanted = (options: ReportOptions) =>
  (Object.keys(FORMATS) as (keyof typeof FORMATS)[]).flatMap((name) => {
    const path = options[name];
    return path === undefined ? [] : [{ name, format: FORMATS[name], path }];
  });

/** For commands that judge ops. */
export function addReportOptions(command: Command): Command {
  for (const { flag, what } of Object.values(FORMATS)) command.option(`${flag} <file>`, what);
  return command;
}

/** For commands whose report is tables and curves: nothing in it is a case a tap. */
export function addPageOptions(command: Command): Command {
  for (const { flag, what } of [FORMATS.html, FORMATS.md, FORMATS.summary]) command.option(`${flag} <file>`, what);
  return command;
}

/** For `kernels`: its cases are JUnit's. */
export const addCasesOptions = (command: Command): Command =>
  addPageOptions(command).option(`${FORMATS.junit.flag} <file>`, "a test case a case, in JUnit's XML");

/**
 * A file that cannot be written, that is one of those that are `read`, or that would mix with `--json` on standard output, is refused
 * before minutes of work; it is not made yet. Throws InputError.
 */
export function checkReportFiles(
  options: ReportOptions & Pick<OutputOptions, "json">,
  read: readonly (string | undefined)[],
): void {
  const files = wanted(options).map(({ format: { flag }, path }) => ({ flag, path }));
  for (const { flag, path } of files) {
    checkWritable(flag, path);
    if (options.json && isStandardOutput(path)) {
      throw new InputError(`${flag} ${path}: --json prints its document there; give a file, or leave --json out`);
    }
  }
  checkApart(
    files,
    read.filter((path) => path !== undefined),
  );
}

/** Throws InputError where a report is asked for that this use of the command has none of; `remedy` says what it goes with. */
export function refuseReports(options: ReportOptions, remedy: string): void {
  const [first] = wanted(options);
  if (first !== undefined) throw new InputError(`${first.format.flag} ${first.path}: ${remedy}`);
}

/** Texts that a command has in the place of its document's. */
export type OwnForms = { readonly [K in keyof typeof FORMATS]?: (created: string) => string };

/** Makes a report, where a file of one is asked for, and writes it. Throws InputError where a file cannot be written. */
export async function leaveReports(
  options: ReportOptions & Pick<OutputOptions, "quiet">,
  make: (created: string) => Report | Promise<Report>,
  own: OwnForms = {},
): Promise<void> {
  const files = wanted(options);
  if (files.length === 0) return;
  const created = new Date().toISOString();
  await underway("reports", options.quiet, async () => {
    const report = files.every(({ name }) => own[name] !== undefined) ? null : await make(created);
    for (const { name, format, path } of files) {
      const text = own[name]?.(created) ?? (report === null ? "" : format.of(report));
      writePage(format.flag, path, text, format.isAdded);
    }
  });
}
