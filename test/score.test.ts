/** The localisation score in small: every fault at its usual op of the embedded model, by audit and by sketches against ONNX Runtime. */
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { type Score, score } from "../scripts/score/run.ts";

let found: Score;

beforeAll(async () => {
  found = await score({
    name: "embedded",
    path: join(import.meta.dirname, "..", "models/faultline-tiny-f16.gguf"),
    tokens: { prompt: [256, 1057, 261, 1907, 1079, 415, 280, 593, 285, 261, 860, 271], follow: [261, 725] },
    sites: ["middle"],
    references: ["onnx"],
  });
}, 900_000);

const of = (by: string) => found.rows.map(({ fault, outcomes }) => ({ fault, ...outcomes[by] }));
const withPlace = (by: string, ...places: string[]) => of(by).filter(({ place }) => places.includes(place ?? ""));

describe("localisation on the embedded model", () => {
  it("plants nearly all of the catalogue", () => {
    expect(found.rows.length).toBeGreaterThan(65);
    expect(withPlace("audit", "exact").length).toBeGreaterThan(60);
  });

  it("raises no false alarm", () => {
    expect(found.clean.filter(({ alarms }) => alarms > 0)).toEqual([]);
    const evidence = ["audit", "onnx full", "onnx sketch", "onnx stats"];
    expect(evidence.flatMap((by) => withPlace(by, "false"))).toEqual([]);
  });

  it("from values: every visible fault at its very op, and its cause right or among equals", () => {
    expect(withPlace("audit", "late", "silent")).toEqual([]);
    expect(of("audit").filter(({ cause }) => cause === "wrong" || cause === "withheld")).toEqual([]);
  });

  it("from sketches: at least 95 % exact, no cause wrong", () => {
    const [exact, missed] = [
      withPlace("onnx sketch", "exact").length,
      withPlace("onnx sketch", "late", "silent").length,
    ];
    expect(exact / (exact + missed)).toBeGreaterThanOrEqual(0.95);
    expect(of("onnx sketch").filter(({ cause }) => cause === "wrong")).toEqual([]);
  });
});
