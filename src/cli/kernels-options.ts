/** The options of `faultline kernels`, and which of them go together. */
import { InputError } from "../trace/errors.ts";
import type { OwnOptions } from "./kernel-own.ts";
import type { KernelsModelOptions } from "./kernels-model.ts";
import type { ReportOptions } from "./report-files.ts";

export interface KernelsOptions extends KernelsModelOptions, OwnOptions, ReportOptions {
  readonly filter?: string;
  readonly onnx: boolean;
  readonly save?: string;
  readonly baseline?: string;
  readonly gitBisect?: boolean;
  readonly alarmsFail: boolean;
}

/** What goes with cases alone, and what with a model. */
const OF_CASES = ["filter", "wgsl", "as", "bindings", "fault", "save", "baseline", "junit", "alarmsFail"] as const;
const OF_MODELS = ["prompt", "chat", "system", "tokens", "steps"] as const;

/** Throws InputError for options that would do nothing. */
export function checkMode(path: string | undefined, options: KernelsOptions): void {
  const isGiven = (name: (typeof OF_CASES)[number] | (typeof OF_MODELS)[number]) =>
    options[name] !== undefined && options[name] !== false;
  if (path === undefined && options.alarmsFail && options.baseline === undefined)
    throw new InputError("--alarms-fail goes with a history; give one with --baseline");
  const idle = path === undefined ? OF_MODELS.find(isGiven) : OF_CASES.find(isGiven);
  if (idle === undefined) return;
  const flag = `--${idle.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  throw new InputError(
    path === undefined ? `${flag} goes with a model; give one` : `${flag} goes with single kernels; leave ${path} out`,
  );
}
