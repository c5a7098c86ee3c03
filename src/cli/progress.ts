/**
 * Progress on the terminal: a line on standard error, only where that is a terminal, gone when the work is done. The cursor is never
 * hidden and lines wrap as ever, so that Ctrl-C, which may end the process at any moment, leaves nothing to be mended.
 */
import { SingleBar } from "cli-progress";
import { clipped } from "../report/clip.ts";
import { seconds } from "../report/numbers.ts";
import { type Progress, UNWATCHED, type Watch } from "../run/progress.ts";

const isShown = (quiet: boolean | undefined) => !quiet && process.stderr.isTTY;
/** Beside the bar: label, count, unit and time left. */
const BESIDE = 52;
const LONGEST_BAR = 24;

/** A bar named `label`; what runs and for how long until the first update, for nothing is counted before. */
export function progressBar(label: string, unit: string, quiet: boolean | undefined): Progress {
  if (!isShown(quiet)) return UNWATCHED(label, unit);
  const waiting = clock(label);
  let bar: SingleBar | undefined;
  return {
    update(done, total) {
      waiting.stop();
      if (bar === undefined) {
        bar = new SingleBar({
          format: `${label.padEnd(10)} {bar} {value}/{total} ${unit}  {eta_formatted} left`,
          ...{ stream: process.stderr, clearOnComplete: true, formatTime: timeLeft },
          ...{ hideCursor: false, linewrap: true, gracefulExit: false },
          barsize: Math.max(1, Math.min(LONGEST_BAR, (process.stderr.columns || 80) - BESIDE)),
        });
        bar.start(total, done);
      }
      bar.update(done);
    },
    stop() {
      waiting.stop();
      bar?.stop();
      bar = undefined;
    },
  };
}

/** Seconds as people read them; the bar has words where it cannot tell. */
function timeLeft(left: unknown): string {
  if (typeof left !== "number" || !Number.isFinite(left)) return "?";
  return left < 90 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`;
}

/** Bars for the parts of a run. */
export const onTerminal =
  (quiet: boolean | undefined): Watch =>
  (label, unit) =>
    progressBar(label, unit, quiet);

/** Work that counts nothing, with a line that says what runs and for how long. */
export async function underway<T>(label: string, quiet: boolean | undefined, work: () => T | Promise<T>): Promise<T> {
  if (!isShown(quiet)) return work();
  const running = clock(label);
  try {
    return await work();
  } finally {
    running.stop();
  }
}

const CLEAR = "\r\u001b[K";

/** A line of standard error that is there until it is stopped. Work that never waits keeps it from being renewed, not from being seen. */
function clock(label: string): { stop(): void } {
  const begun = performance.now();
  const show = () => {
    const line = `${label.padEnd(10)} ${seconds(performance.now() - begun)}`;
    process.stderr.write(CLEAR + clipped(line, (process.stderr.columns || 80) - 1));
  };
  show();
  let timer: NodeJS.Timeout | undefined = setInterval(show, 1000).unref();
  return {
    stop() {
      if (timer === undefined) return;
      clearInterval(timer);
      timer = undefined;
      process.stderr.write(CLEAR);
    },
  };
}

/** A line for people that stays, before any progress: what the first use fetches and builds takes minutes. */
export const note = (line: string) => void process.stderr.write(`${process.stderr.isTTY ? CLEAR : ""}${line}\n`);
