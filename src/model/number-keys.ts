/** Numbers from a model's metadata. */
import { ModelError } from "./errors.ts";
import type { GgufFile } from "./gguf.ts";

/** Reads one metadata key as a number that is not negative, or the default where it is absent. */
export type NumberKey = (key: string, fallback?: number) => number;

/** A reader of numeric keys of one architecture. Throws ModelError for a missing or unusable value. */
export function numberKeys(file: GgufFile, architecture: string): NumberKey {
  return (key, fallback) => {
    const stored = file.metadata[`${architecture}.${key}`] ?? fallback;
    const perLayer = Array.isArray(stored) && !stored.every((each) => each === stored[0]);
    const value: unknown = Array.isArray(stored) && !perLayer ? stored[0] : stored;
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
      const found = perLayer ? "a value per layer, which this program cannot run" : shown(value);
      throw new ModelError(
        `${file.name}: ${architecture}.${key} is ${found}; a number is needed, convert the model again`,
      );
    }
    return value;
  };
}

/** The same for what is counted: a fraction is refused too. */
export function countKeys(file: GgufFile, architecture: string): NumberKey {
  const number = numberKeys(file, architecture);
  return (key, fallback) => {
    const value = number(key, fallback);
    if (Number.isSafeInteger(value)) return value;
    throw new ModelError(
      `${file.name}: ${architecture}.${key} is ${value}; a whole number is needed, convert the model again`,
    );
  };
}

function shown(value: unknown): string {
  return typeof value === "number" ? String(value) : (JSON.stringify(value)?.slice(0, 80) ?? "missing");
}
