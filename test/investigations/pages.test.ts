/** docs/investigations says what the commands print: every command of every page is run again. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { firstChange } from "../../scripts/investigations/same.ts";

const root = join(import.meta.dirname, "../..");

describe("the pages", () => {
  it("are what the commands print", () => {
    const command = ["--import", "tsx", "scripts/investigations.ts", "--check"];
    const { status, stderr } = spawnSync(process.execPath, command, { cwd: root, encoding: "utf8" });
    expect(
      status,
      stderr
        .split("\n")
        .filter((line) => !line.startsWith("$ "))
        .join("\n"),
    ).toBe(0);
  }, 600_000);
});

describe("whether two outputs say the same", () => {
  const line = (figure: number, word = "ops") => `match: ${figure.toPrecision(4)} ${word}, 2.1 s on cpu: Some CPU`;
  it("figures may move by their last digits, times and devices at will, words not at all", () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-3, max: 1e3, noNaN: true }), (figure) => {
        expect(firstChange(line(figure), line(figure * 1.002))).toBeNull();
        expect(
          firstChange(line(figure), line(figure).replace("2.1 s", "80 s").replace("cpu: Some", "gpu: Other")),
        ).toBeNull();
        expect(firstChange(line(figure), line(figure * 1.5))).toMatchObject({ line: 1 });
        expect(firstChange(line(figure), line(figure, "op"))).toMatchObject({ line: 1 });
        expect(firstChange(line(figure), `${line(figure)}\n(exit status 1)`)).toMatchObject({ line: 2 });
      }),
    );
    // Rounding of f32 differs between adapters; an error beyond it does not.
    expect(firstChange("relL2 2.1e-7", "relL2 4.0e-7")).toBeNull();
    expect(firstChange("relL2 2.1e-7", "relL2 2.1e-3")).not.toBeNull();
  });
});
