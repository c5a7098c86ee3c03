/** Progress on the terminal: a bar on standard error, only where that is a terminal and only for what takes its time. */
import { SingleBar } from "cli-progress";

export interface Progress {
  update(done: number, total: number): void;
  stop(): void;
}

const SILENT: Progress = { update: () => {}, stop: () => {} };

/** A bar named `label`, shown from the first update on. */
export function progressBar(label: string, unit: string, quiet: boolean | undefined): Progress {
  if (quiet || !process.stderr.isTTY) return SILENT;
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
