/** Progress on the terminal: a bar on standard error, only where that is a terminal and only for what takes its time. */
import { SingleBar } from "cli-progress";
import { type Progress, UNWATCHED, type Watch } from "../run/progress.ts";

/** A bar named `label`, shown from the first update on. */
export function progressBar(label: string, unit: string, quiet: boolean | undefined): Progress {
  if (quiet || !process.stderr.isTTY) return UNWATCHED(label, unit);
  let bar: SingleBar | undefined;
  return {
    update(done, total) {
      if (bar === undefined) {
        const format = `${label.padEnd(10)} {bar} {value}/{total} ${unit}  {eta_formatted} left`;
        bar = new SingleBar({ format, stream: process.stderr, clearOnComplete: true, hideCursor: true, barsize: 24 });
        bar.start(total, done);
      }
      bar.update(done);
    },
    stop() {
      bar?.stop();
    },
  };
}

/** Bars for the parts of a run. */
export const onTerminal =
  (quiet: boolean | undefined): Watch =>
  (label, unit) =>
    progressBar(label, unit, quiet);
