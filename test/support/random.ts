/** Random numbers that repeat: the same seed, the same test. */
export { normals, uniform } from "../../src/compare/kernels/random.ts";
