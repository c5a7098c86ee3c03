/** How a run says how far it is. What shows it, a bar or a caller's function, is given from outside. */
export interface Progress {
  update(done: number, total: number): void;
  stop(): void;
}

/** Begins the progress of a part of the work, counted in `unit`. */
export type Watch = (label: string, unit: string) => Progress;

export const UNWATCHED: Watch = () => ({ update: () => {}, stop: () => {} });
