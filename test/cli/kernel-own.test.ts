/** `faultline kernels --wgsl FILE --as OP --bindings FILE.json`: the examples of docs/examples, right and wrong, and what is refused. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readDescription } from "../../src/engine/foreign/description.ts";
import type { OpKind } from "../../src/model/ops.ts";
import { kernelsSchema } from "../../src/report/kernels.ts";
import { expectRefused, faultline } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-own-"));
const examples = join(import.meta.dirname, "../../docs/examples");

/** An example, changed where that is told, tried. */
function tried(example: string, op: string, [find, replace]: readonly [string, string] = ["", ""]) {
  const source = readFileSync(join(examples, `${example}.wgsl`), "utf8");
  expect(source).toContain(find);
  const path = join(folder, `${example}.wgsl`);
  writeFileSync(
    path,
    source.replace(find, () => replace),
  );
  const bindings = join(examples, `${example}.json`);
  const run = faultline("kernels", "--wgsl", path, "--as", op, "--bindings", bindings, "--json", "-q", "--no-time");
  expect(run.stdout, run.stderr).not.toBe("");
  return { status: run.status, ...kernelsSchema.parse(JSON.parse(run.stdout)) };
}

describe("a foreign RMSNorm", () => {
  it("passes at every case that it takes, and those that it does not are counted", () => {
    const { status, cases, left_out } = tried("rms_norm_vec4", "rms_norm");
    expect(status).toBe(0);
    expect(left_out).toEqual([{ reason: "needs columns % 4 == 0", cases: 80 - cases.length }]);
    expect(cases.length).toBeGreaterThan(30);
  });

  it.each([
    [
      "eps outside the root",
      "inverseSqrt(sums[0] * params.inverse + params.epsilon)",
      "(1.0 / (sqrt(sums[0] * params.inverse) + params.epsilon))",
    ],
    ["the mean of one column less", "sums[0] * params.inverse", "sums[0] / f32(params.hidden - 1u)"],
    ["no gain", "factor * scale[i]", "factor * sign(scale[i])"],
  ])(
    "%s fails",
    (_name, find, replace) => {
      const { status, cases } = tried("rms_norm_vec4", "rms_norm", [find, replace]);
      expect(status).toBe(1);
      expect(cases.find(({ id }) => id === "rms_norm 4x32 F32 normal f32")?.verdict).toBe("fail");
    },
    60_000,
  );
});

describe.each([
  [
    "causal_softmax_online",
    "causal_softmax",
    ["sum = sum * exp(before - most) +", "sum = sum +"],
    "causal_softmax 4/1x1x128@300 normal f32",
  ],
  ["rope_angles", "rope", ["params.pos_start + id.y", "id.y"], "rope 9/9x7x64@2041 normal f32"],
] as const)("the example %s", (example, op, wrong, id) => {
  it("passes at every case, and fails with a bug in it", () => {
    const { status, left_out } = tried(example, op);
    expect([status, left_out]).toEqual([0, []]);
    const { status: failed, cases } = tried(example, op, wrong);
    expect([failed, cases.find((each) => each.id === id)?.verdict]).toEqual([1, "fail"]);
  });
});

describe("a foreign linear over a file's own Q8_0 blocks", () => {
  it("passes at every Q8_0 case, with and without a bias", () => {
    const { status, cases, left_out } = tried("linear_q8_0", "linear");
    expect(status).toBe(0);
    expect(cases.every(({ type }) => type === "Q8_0")).toBe(true);
    expect(cases.filter(({ shape }) => shape.includes("bias")).length).toBeGreaterThan(0);
    expect(left_out.map(({ reason }) => reason)).toEqual(["takes weights in Q8_0"]);
  });

  it.each([
    [
      "quants without a sign",
      "f32(i32((blocks[at / 4u] >> shift) << 24u) >> 24u)",
      "f32((blocks[at / 4u] >> shift) & 255u)",
    ],
    ["the last block left out", "block < params.columns / 32u", "block + 1u < params.columns / 32u"],
  ])(
    "%s fails",
    (_name, find, replace) => {
      expect(tried("linear_q8_0", "linear", [find, replace]).status).toBe(1);
    },
    60_000,
  );
});

describe("what is refused", () => {
  const wgsl = join(examples, "rms_norm_vec4.wgsl");
  const right = JSON.parse(readFileSync(join(examples, "rms_norm_vec4.json"), "utf8")) as Record<string, unknown>;
  const refused = (changes: object, words: RegExp, ...options: string[]) => {
    const path = join(folder, "mine.json");
    writeFileSync(path, JSON.stringify({ ...right, ...changes }));
    expectRefused(["kernels", "--wgsl", wgsl, "--as", "rms_norm", "--bindings", path, "-q", ...options], words);
  };

  it("is said in one line", () => {
    refused({ grid: 1 }, /mine\.json: .*grid/);
    refused({ bindings: { 0: "x" } }, /mine\.json: bindings: "gain" stands nowhere/);
    refused({ entry: "other" }, /rms_norm_vec4\.wgsl: at rms_norm .*other.*; change its --bindings/);
    refused({ overrides: { LANES: 4 } }, /rms_norm_vec4\.wgsl: at rms_norm .*LANES/);
    const unbound = { ...(right.bindings as object), 4: "x" };
    refused({ bindings: unbound }, /rms_norm_vec4\.wgsl: at rms_norm .*binding index 4.*; change its --bindings/);
    refused({ workgroups: ["tokens / 2"] }, /workgroups\.0: "tokens \/ 2" is 3\.5; whole numbers from 1 to 65535/);
    refused({ needs: ["columns == 5"] }, /none of 80 cases is tried: the kernel needs columns == 5/);
    refused({ needs: ["0 / 0"] }, /at rms_norm .*: needs: "0 \/ 0" is NaN; change its --bindings/);
    refused({ bindings: { ...(right.bindings as object), "00": "gain" } }, /"00" is no binding number/);
    refused(
      { bindings: { ...(right.bindings as object), 9: "gain" } },
      /rms_norm_vec4\.wgsl: at rms_norm .*binding index 9.*; change its --bindings$/,
    );
    const uniform = (field: string) => ({ bindings: { ...(right.bindings as object), 2: { uniform: [field] } } });
    refused(uniform("1e300: f32"), /at rms_norm .*: uniform 2: "1e300" is 1e\+300, which is no f32; change/);
    refused(uniform("4294967296: u32"), /uniform 2: "4294967296" is 4294967296, which is no u32/);
    refused({}, /--bindings and --fault do not go together/, "--fault", "norm.eps");
    expectRefused(["kernels", "--bindings", join(folder, "mine.json")], /--wgsl and --as go together/);
  });

  const unread = (example: string, kind: OpKind, changes: object, words: RegExp) => {
    const path = join(folder, "unread.json");
    const whole = JSON.parse(readFileSync(join(examples, `${example}.json`), "utf8")) as object;
    writeFileSync(path, JSON.stringify({ ...whole, ...changes }));
    expect(() => readDescription(path, kind)).toThrow(words);
  };

  it("a key that objects lose is an unknown one, wherever it stands", () => {
    const odd = { ["__proto__"]: "x" };
    const words = /unread\.json: "__proto__" is no field, no binding and no override; leave it out$/;
    for (const changes of [odd, { bindings: { ...(right.bindings as object), ...odd } }, { overrides: odd }])
      unread("rms_norm_vec4", "rms_norm", changes, words);
  });

  it("names that no kernel can have are shown escaped, in a whole line", () => {
    const words = /unread\.json: (entry|overrides): "ma\\nin" is no name in WGSL$/;
    for (const changes of [{ entry: "ma\nin" }, { overrides: { "ma\nin": 4 } }])
      unread("rms_norm_vec4", "rms_norm", changes, words);
  });

  it("of two buffers that go together one alone", () => {
    const { bindings } = JSON.parse(readFileSync(join(examples, "rope_angles.json"), "utf8")) as { bindings: object };
    for (const name of ["cos", "sin"]) {
      const words = /unread\.json: bindings: of "cos" and "sin" one stands alone; bind both, or neither/;
      unread("rope_angles", "rope", { bindings: { ...bindings, 9: name } }, words);
    }
  });
});
