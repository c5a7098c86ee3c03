/** The shared language of traces. Imports nothing of the rest of the project. */
export * from "./capture.ts";
export * from "./dims.ts";
export * from "./errors.ts";
export * from "./reader.ts";
export * from "./record.ts";
export * from "./sketch.ts";
export * from "./statistics.ts";
export * from "./taps.ts";
export * from "./writer.ts";
