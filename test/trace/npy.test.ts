/** What is written as .npy is read back bit for bit, by us and by numpy. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { type NpyElement, readNpy, writeNpy } from "../../src/trace/npy.ts";
import { cached } from "../support/cache.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-npy-"));
afterAll(() => rmSync(folder, { recursive: true }));
let next = 0;
const newFile = () => join(folder, `${next++}.npy`);

const VIEWS = {
  f4: { bytes: 4, of: (bytes: ArrayBuffer) => new Float32Array(bytes) },
  f8: { bytes: 8, of: (bytes: ArrayBuffer) => new Float64Array(bytes) },
  u1: { bytes: 1, of: (bytes: ArrayBuffer) => new Uint8Array(bytes) },
};
const bits = (array: ArrayBufferView) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("hex");

it.each(Object.keys(VIEWS) as NpyElement[])("%s of any bits and shape", (element) => {
  const { bytes, of } = VIEWS[element];
  const array = fc
    .array(fc.nat(5), { maxLength: 4 })
    .chain((shape) => fc.tuple(fc.constant(shape), anyBytes(shape.reduce((a, b) => a * b, bytes))));
  fc.assert(
    fc.property(array, ([shape, raw]) => {
      const [path, data] = [newFile(), of(raw.slice().buffer as ArrayBuffer)];
      writeNpy(path, element, shape, data as never);
      expect(bits(readNpy(path, element, shape, "no remedy"))).toBe(bits(data));
    }),
    { numRuns: 100, seed: 5 },
  );
});

const anyBytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

it("numpy reads them, and reads the same", () => {
  const values = Float64Array.from([1, -0, Number.NaN, Number.POSITIVE_INFINITY, 2 ** -1074, Math.PI]);
  const [path, short] = [newFile(), newFile()];
  writeNpy(path, "f8", [2, 3], values);
  writeNpy(short, "u1", [3], Uint8Array.of(0, 127, 255));
  const program = `import numpy as np, sys
for p in sys.argv[1:]:
    a = np.load(p); print(a.dtype, a.shape, a.tobytes().hex())`;
  const text = execFileSync(cached("python/bin/python"), ["-c", program, path, short], { encoding: "utf8" });
  expect(text).toBe(`float64 (2, 3) ${bits(values)}\nuint8 (3,) 007fff\n`);
});
