/** Numbers from a model's metadata. */
import { ModelError } from "./errors.ts";
import type { GgufFile } from "./gguf.ts";

/** Reads one metadata key as a positive number, or the default where it is absent. */
export type NumberKey = (key: string, fallback?: number) => number;

/** A reader of numeric keys of one architecture. Throws ModelError for a missing or unusable value. */
export function numberKeys(file: GgufFile, architecture: string): NumberKey {
  return (key, fallback) => {
    const value = file.metadata[`${architecture}.${key}`] ?? fallback;
    if (Array.isArray(value) && value.length > 0 && value.every((each) => each === value[0])) return value[0];
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
      const found = Array.isArray(value) ? "a value per layer, which this program cannot run" : JSON.stringify(value);
      throw new ModelError(
        `${file.name}: ${architecture}.${key} is ${found ?? "missing"}; a number is needed, convert the model again`,
      );
    }
    return value;
  };
}
