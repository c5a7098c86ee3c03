/** The model that comes with the package, by its path in it. */
export const EMBEDDED_MODEL = "models/faultline-tiny-f16.gguf";
