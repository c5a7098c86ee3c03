// Typed access to a GGUF's key-value map. Knows the shape of values, not what the keys mean.
import { ModelError } from "./errors.ts";

/** The key-value section of a GGUF file: plain keys, plain values. */
export interface GgufMetadata {
  readonly [key: string]: unknown;
}

export function optionalString(metadata: GgufMetadata, key: string): string | undefined {
  return optional(metadata, key, "a string", (value) => typeof value === "string");
}

export function optionalBoolean(metadata: GgufMetadata, key: string): boolean | undefined {
  return optional(metadata, key, "a boolean", (value) => typeof value === "boolean");
}

/** GGUF has 64-bit integers too; readers hand those out as bigint. */
export function optionalInteger(metadata: GgufMetadata, key: string): number | undefined {
  const value = optional(
    metadata,
    key,
    "an integer",
    (value): value is number | bigint => Number.isInteger(value) || typeof value === "bigint",
  );
  return value === undefined ? undefined : Number(value);
}

export function optionalStrings(metadata: GgufMetadata, key: string): readonly string[] | undefined {
  return optional(
    metadata,
    key,
    "an array of strings",
    (value): value is string[] => Array.isArray(value) && value.every((item) => typeof item === "string"),
  );
}

export function optionalNumbers(metadata: GgufMetadata, key: string): ArrayLike<number> | undefined {
  return optional(
    metadata,
    key,
    "an array of numbers",
    (value): value is ArrayLike<number> =>
      (Array.isArray(value) && value.every((item) => typeof item === "number")) ||
      value instanceof Float32Array ||
      value instanceof Int32Array,
  );
}

function optional<T>(
  metadata: GgufMetadata,
  key: string,
  wanted: string,
  is: (value: unknown) => value is T,
): T | undefined {
  const value = metadata[key];
  if (value === undefined || is(value)) return value;
  const found = Array.isArray(value) ? "an array" : typeof value;
  throw new ModelError(`${key}: ${found}, not ${wanted}; the file was written wrongly, convert the model again`);
}
