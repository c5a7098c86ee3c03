/** Dump folders and safetensors files become the traces that they say: element types, axes, maps, missing and merged axes. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { AxisTable, permuteAxes } from "../../references/import/axes.ts";
import { placeInHalves } from "../../references/import/canonical.ts";
import { mapSchema } from "../../references/maps/map-schema.ts";
import { meaningOf } from "../../references/maps/name-map.ts";
import { elementsOf, shapeOf } from "../../src/trace/dims.ts";
import { hashOf } from "../../src/trace/sketch.ts";
import {
  f32Bytes,
  imported,
  type Npy,
  newFolder,
  npyBytes,
  refusal,
  safetensorsBytes,
  scratchFolder,
  tensor,
  u16Bytes,
  writeDump,
} from "../support/dump-builder.ts";
import { syntheticModel } from "../support/engine.ts";

afterAll(() => rmSync(scratchFolder, { recursive: true }));

const count = (length: number, from = 1) => Array.from({ length }, (_, i) => i + from);
const map = (...rules: object[]) => ({ faultline_map: 1, rules, ignore: ["tmp_*"] });
const valuesOf = async (folder: string, tap: string) => [...((await imported(folder)).records.get(tap)?.values ?? [])];

describe("elements", () => {
  const embed = (array: Npy, dtype = "f32") => writeDump({ tensors: [{ name: "embed", array, entry: { dtype } }] });
  const shape = [2, 4];

  it("of every type", async () => {
    const numbers = [0, -0, 1.5, -2, 3, 1e4, -7, 8];
    const f8 = new Uint8Array(Float64Array.from(numbers).buffer);
    const i4 = new Uint8Array(Int32Array.from(numbers).buffer);
    expect(await valuesOf(embed({ shape, data: f32Bytes(numbers) }), "embed")).toEqual(numbers);
    expect(await valuesOf(embed({ shape, data: f8, type: "<f8" }), "embed")).toEqual(numbers);
    expect(await valuesOf(embed({ shape, data: i4, type: "<i4" }), "embed")).toEqual([...Int32Array.from(numbers)]);
  });

  it("f16 with its special values", async () => {
    const bits = [0x0000, 0x8000, 0x3c00, 0x0001, 0x03ff, 0x7bff, 0x7c00, 0xfe01];
    const values = await valuesOf(embed({ shape, data: u16Bytes(bits), type: "<f2" }), "embed");
    expect(values).toEqual([0, -0, 1, 2 ** -24, 1023 * 2 ** -24, 65504, Number.POSITIVE_INFINITY, Number.NaN]);
  });

  it("bf16 with its special values", async () => {
    const bits = [0x0000, 0x8000, 0x3f80, 0x0001, 0x7f7f, 0x7f80, 0xff80, 0x7fc1];
    const folder = embed({ shape, data: u16Bytes(bits), type: "<u2" }, "bf16");
    const { records } = await imported(folder);
    const largest = (2 - 2 ** -7) * 2 ** 127;
    const { POSITIVE_INFINITY: inf } = Number;
    expect([...(records.get("embed")?.values ?? [])]).toEqual([0, -0, 1, 2 ** -133, largest, inf, -inf, Number.NaN]);
    expect(records.get("embed")).toMatchObject({
      dtype: "bf16",
      statistics: { nanCount: 1, infCount: 2, zeroCount: 2 },
    });
  });

  it("in version 2 of the format", async () => {
    const one = npyBytes({ shape, data: f32Bytes(count(8)) });
    const length = Buffer.alloc(4);
    length.writeUInt32LE(Buffer.from(one).readUInt16LE(8));
    const two = Buffer.concat([Buffer.from("\x93NUMPY\x02\x00", "latin1"), length, one.subarray(10)]);
    expect(await valuesOf(writeDump({ tensors: [{ name: "embed", array: two }] }), "embed")).toEqual(count(8));
  });

  it("are recorded as they are at each level of capture", async () => {
    const folder = writeDump({ tensors: [tensor("embed", [2, 4], count(8))] });
    const full = (await imported(folder)).records.get("embed");
    expect(full).toMatchObject({
      hash: hashOf(Float32Array.from(count(8))),
      op: "embed",
      dims: "token embd",
      layer: null,
    });
    expect((await imported(folder, { capture: "sketch" })).records.get("embed")).toMatchObject({
      ...full,
      values: null,
    });
    const stats = { values: null, sketch: new Float32Array(0) };
    expect((await imported(folder, { capture: "stats" })).records.get("embed")).toMatchObject({ ...full, ...stats });
  });
});

describe("axes", () => {
  it("may be merged or not, with or without leading ones", async () => {
    const data = count(2 * 3 * 4);
    for (const shape of [
      [2, 3, 4],
      [1, 2, 3, 4],
      [1, 1, 2, 3, 4],
      [2, 12],
      [1, 2, 12],
    ]) {
      const { records } = await imported(writeDump({ tensors: [tensor("blk.0.q_proj", shape, data)] }));
      expect(records.get("blk.0.q_proj")?.shape).toEqual([2, 12]);
      expect([...(records.get("blk.0.q_proj")?.values ?? [])]).toEqual(data);
    }
  });

  it("of one token and one head are read by the model's sizes", async () => {
    const model = await syntheticModel({ heads: 4, kvHeads: 1, embd: 64 });
    const steps = [{ pos_start: 0, tokens: [5] }];
    const tensors = [tensor("blk.0.k_rope", [1, 1, 16], count(16)), tensor("blk.0.q_rope", [4, 16], count(64))];
    const { records } = await imported(writeDump({ steps, tensors }), { model });
    expect(records.get("blk.0.k_rope")?.shape).toEqual([1, 16]);
    expect(records.get("blk.0.q_rope")?.shape).toEqual([1, 64]);
    model.file.close();
  });

  it("are put in the tap's order", async () => {
    const rules = map({ name: "q", tap: "blk.1.q_rope", axes: "head token head_dim" });
    const tensors = [tensor("q", [3, 2, 2], count(12))];
    // [head, token, head_dim] -> [token, head, head_dim]
    expect(await valuesOf(writeDump({ map: rules, tensors }), "blk.1.q_rope")).toEqual([
      1, 2, 5, 6, 9, 10, 3, 4, 7, 8, 11, 12,
    ]);
  });

  it("a lone row is the last token's", async () => {
    const tensors = [tensor("embed", [2, 2], count(4)), tensor("logits", [1, 5], [0, 1, 9, 2, 3])];
    const { records, facts } = await imported(writeDump({ steps: [{ pos_start: 0, tokens: [7, 8] }], tensors }));
    expect(records.get("logits")).toMatchObject({ posStart: 1, shape: [1, 5] });
    expect(records.get("embed")).toMatchObject({ posStart: 0, shape: [2, 2] });
    expect(facts.generated).toEqual([2]);
  });

  it("that contradict the tokens or one another are refused", async () => {
    const wrong = writeDump({ tensors: [tensor("embed", [3, 4], count(12))] });
    expect(await refusal(wrong)).toMatch(/tensor 0 \(embed\): shape \[3, 4\] is not token embd \(token is 2, not 3\)$/);
    const two = [tensor("embed", [2, 4], count(8)), tensor("blk.0.attn_norm", [2, 5], count(10))];
    expect(await refusal(writeDump({ tensors: two }))).toMatch(
      /shape \[2, 5\] is not token embd \(embd is 4, not 5\)$/,
    );
    const many = writeDump({ tensors: [tensor("embed", [2, 2, 2], count(8))] });
    expect(await refusal(many)).toMatch(/shape \[2, 2, 2\] is not token embd \(2 axes\)$/);
  });
});

describe("maps", () => {
  it("halves: pairs (j, j + head_dim/2) become neighbours", async () => {
    const rules = map({ name: "q", tap: "blk.0.q_rope", axes: "token head head_dim", halves: true });
    const tensors = [tensor("q", [2, 1, 6], [...count(6, 10), ...count(6, 20)])];
    expect(await valuesOf(writeDump({ map: rules, tensors }), "blk.0.q_rope")).toEqual([
      10, 13, 11, 14, 12, 15, 20, 23, 21, 24, 22, 25,
    ]);
  });

  it("padded, unscaled, masked", async () => {
    const rules = map(
      { name: "kq", tap: "blk.0.attn_scores", padded: true, unscaled: true },
      { name: "p", tap: "blk.0.attn_probs", padded: true },
      { name: "q", tap: "blk.0.q_rope", axes: "token head head_dim" },
    );
    const tensors = (probs: number[]) => [
      tensor("q", [2, 1, 4], count(8)),
      tensor("kq", [1, 2, 5], [2, 99, 99, 99, 99, 4, 6, 99, 99, 99]), // scale 1/sqrt(4)
      tensor("p", [1, 2, 5], probs),
    ];
    const good = await imported(writeDump({ map: rules, tensors: tensors([1, 0, 0, 0, 0, 0.5, 0.5, 0, 0, 0]) }));
    expect([...(good.records.get("blk.0.attn_scores")?.values ?? [])]).toEqual([1, 0, 2, 3]);
    expect([...(good.records.get("blk.0.attn_probs")?.values ?? [])]).toEqual([1, 0, 0.5, 0.5]);
    const bad = writeDump({ map: rules, tensors: tensors([1, 0, 0, 0, 0, 0.5, 0.25, 0.25, 0, 0]) });
    expect(await refusal(bad)).toMatch(/tensor 2 \(p\): probability 0.25 for key 2, but there are 2 keys/);
    // A softmax of NaN is NaN in its whole row, the padding too; NaN in the padding alone is damage.
    const nan = await imported(writeDump({ map: rules, tensors: tensors([1, 0, 0, 0, 0, NaN, NaN, NaN, NaN, NaN]) }));
    expect([...(nan.records.get("blk.0.attn_probs")?.values ?? [])]).toEqual([1, 0, NaN, NaN]);
    expect(await refusal(writeDump({ map: rules, tensors: tensors([1, 0, 0, 0, 0, 0.5, 0.5, NaN, 0, 0]) }))).toMatch(
      /probability NaN for key 2/,
    );
  });

  it("overrides: a bias takes the place of its product", async () => {
    const rules = map(
      { name: "lin", weight: "l{N}.q", tap: "blk.{N}.q_proj" },
      { name: "add", weight: "l{N}.q", tap: "blk.{N}.q_proj", overrides: true },
      { name: "embd", tap: "embed" },
    );
    const tensors = [
      tensor("lin", [2, 2], count(4), { weight: "l0.q", dtype: "q8_0" }),
      tensor("embd", [2, 3], count(6)),
      tensor("add", [2, 2], count(4, 5), { weight: "l0.q", op: "ADD" }),
      tensor("tmp_1", [9], count(9)),
      tensor("other", [9], count(9)),
    ];
    const { facts, records } = await imported(writeDump({ map: rules, tensors }));
    expect([...(records.get("blk.0.q_proj")?.values ?? [])]).toEqual(count(4, 5));
    // An f32 sum does not undo what the product's activations lost.
    expect(records.get("blk.0.q_proj")?.dtype).toBe("q8_0");
    expect([...records.keys()]).toEqual(["embed", "blk.0.q_proj"]);
    expect(facts).toMatchObject({ replaced: ["lin"], ignored: ["tmp_1"], unknown: ["other"], leftOut: [] });
  });

  it("weights need the model", async () => {
    const model = await syntheticModel({ embd: 64 });
    const name = "weight:blk.0.attn_norm.weight";
    const folder = writeDump({ tensors: [tensor("embed", [2, 64], count(128)), tensor(name, [64], count(64))] });
    expect((await imported(folder, { model })).records.get(name)).toMatchObject({
      op: "weight",
      shape: [64],
      layer: 0,
    });
    expect((await imported(folder)).facts.unknown).toEqual([name]);
    model.file.close();
  });

  const said = (rule: object, ...tensors: ReturnType<typeof tensor>[]) =>
    refusal(writeDump({ map: map(rule), tensors }));

  it("that cannot be are refused", async () => {
    const x = tensor("x", [2, 3], count(6));
    expect(await said({ name: "x", tap: "embed", axes: "token wrong" }, x)).toMatch(
      /its map says axes token wrong, but embed is token embd$/,
    );
    expect(await said({ name: "x", tap: "embed", halves: true }, x)).toMatch(/its map says halves, but embed is/);
    expect(await said({ name: "x", tap: "embed", padded: true }, x)).toMatch(/its map says padded, but embed is/);
    const q = { name: "x", tap: "blk.0.q_rope", axes: "token head head_dim", halves: true };
    expect(await said(q, tensor("x", [2, 1, 3], count(6)))).toMatch(/a head has 3 elements, an odd number$/);
    expect(await said({ name: "x", tap: "blk.0.q_rope", halves: true }, x)).toMatch(/give the model with --model$/);
    expect(await said({ name: "*", tap: "embed" }, x, tensor("y", [2, 3], count(6)))).toMatch(
      /x \(no op\) and y \(no op\) are both embed of step 0; a map must tell them apart/,
    );
    expect(await said({ name: "y", tap: "embed" }, x)).toMatch(
      /none of the 1 tensors is a tap by the names of .*\(x\)/,
    );
    expect(await said({ name: "x" }, x)).toMatch(/map\.json: rules\.0\.tap is missing/);
    expect(await said({ name: "x", tap: "embed", extra: 1 }, x)).toMatch(/map\.json: rules\.0: /);
    const folder = writeDump({ tensors: [x] });
    for (const name of ["nowhere", newFolder()])
      expect(await refusal(folder, { map: name })).toMatch(/no such map; names are canonical, llama.cpp, hf-llama/);
  });
});

describe("names", () => {
  const find = (rule: object, name: string, op = "", weight = "") =>
    meaningOf(mapSchema.parse({ faultline_map: 1, rules: [rule], ignore: ["i.{N}"] }), { name, op, weight });
  const tapOf = (...args: Parameters<typeof find>) => {
    const found = find(...args);
    return typeof found === "string" ? found : found.tap;
  };

  it("are literal but for {N} and *", () => {
    expect(tapOf({ name: "a.b[{N}]$", tap: "blk.{N}.x" }, "a.b[12]$")).toBe("blk.12.x");
    expect(tapOf({ name: "a.b", tap: "x" }, "aXb")).toBe("unknown");
    expect(tapOf({ name: "a{2}|b", tap: "x" }, "a{2}|b")).toBe("x");
    expect(tapOf({ name: "a{2}|b", tap: "x" }, "aa")).toBe("unknown");
    expect(tapOf({ name: "l{N}.l{N}", tap: "blk.{N}.x" }, "l3.l3")).toBe("blk.3.x");
    expect(tapOf({ name: "l{N}.l{N}", tap: "blk.{N}.x" }, "l3.l4")).toBe("unknown");
    expect(tapOf({ name: "*/*", tap: "<*>" }, "a/b\nc")).toBe("<a>");
    expect(tapOf({ name: "*", tap: "<*>" }, "$&$1")).toBe("<$&$1>");
    expect(tapOf({ name: "x", tap: "y" }, "i.7")).toBe("ignored");
    expect(tapOf({ name: "q-{N}", weight: "w.{N}", tap: "blk.{N}.q" }, "q-1", "", "w.2")).toBe("unknown");
  });

  it("of any text match themselves and nothing else", () => {
    const text = fc.string({ minLength: 1, unit: "grapheme" }).filter((name) => !/\*|\{N\}/.test(name));
    fc.assert(
      fc.property(text, text, fc.nat(99), (name, other, layer) => {
        expect(tapOf({ name, tap: "t" }, name)).toBe("t");
        expect(tapOf({ name, tap: "t" }, other) === "t").toBe(name === other);
        expect(tapOf({ name: `${name}{N}*`, tap: "{N} *" }, `${name}${layer}.${other}`)).toBe(`${layer} .${other}`);
      }),
    );
  });
});

function fileOf(content: Uint8Array): string {
  const path = join(newFolder(), "x.safetensors");
  writeFileSync(path, content);
  return path;
}

describe("safetensors", () => {
  const values = [1, 2, 3, 4];
  const steps = JSON.stringify([
    { pos_start: 0, tokens: [1, 2] },
    { pos_start: 2, tokens: [3] },
  ]);

  it("of every type, with facts in the metadata", async () => {
    const f64 = new Uint8Array(Float64Array.from(values).buffer);
    const i32 = new Uint8Array(Int32Array.from(values).buffer);
    const file = safetensorsBytes(
      {
        embed: { dtype: "F32", shape: [2, 2], data: f32Bytes(values) },
        "blk.0.attn_norm": { dtype: "F64", shape: [1, 2, 2], data: f64 },
        "blk.0.output": { dtype: "I32", shape: [2, 2], data: i32 },
        "step.1.embed": { dtype: "F16", shape: [1, 2], data: u16Bytes([0x3c00, 0x7c00]) },
        "step.1.final_norm": { dtype: "BF16", shape: [2], data: u16Bytes([0x3f80, 0x7fc0]) },
      },
      { steps, producer: '{"name": "me", "dtype": "f16"}', model: "m.gguf", prompt: "Hi", format: "pt" },
    );
    const { trace, records } = await imported(fileOf(file));
    for (const tap of ["embed", "blk.0.attn_norm", "blk.0.output"])
      expect(records.get(tap)).toMatchObject({ values: Float32Array.from(values), shape: [2, 2], dtype: "f16" });
    expect(records.get("1 embed")).toMatchObject({ posStart: 2, dtype: "f16", statistics: { infCount: 1 } });
    expect(records.get("1 final_norm")).toMatchObject({ posStart: 2, dtype: "bf16", statistics: { nanCount: 1 } });
    expect(trace.manifest).toMatchObject({ producer: { name: "me" }, model: { file: "m.gguf" }, prompt: "Hi" });
  });

  it("becomes the trace that the same dump folder becomes", async () => {
    const [data, map] = [f32Bytes([...Array(12).keys()]), { faultline_map: 1, rules: [] as object[] }];
    map.rules.push({ name: "q{N}", tap: "blk.{N}.q_rope", axes: "head token head_dim", halves: true });
    const folder = writeDump({ map, tensors: [{ name: "q0", array: { shape: [3, 2, 2], data } }] });
    const path = fileOf(safetensorsBytes({ q0: { dtype: "F32", shape: [3, 2, 2], data } }, { names: "m.json" }));
    writeFileSync(join(path, "../m.json"), JSON.stringify(map));
    const [a, b] = [await imported(folder), await imported(path, { tokens: [[1, 2]] })];
    expect(b.records.get("blk.0.q_rope")?.hash).toBe(a.records.get("blk.0.q_rope")?.hash);
  });
});

describe("properties of axes", () => {
  const NAMES = ["head", "token", "key"];
  const sizesOf = fc.record({ head: fc.nat({ max: 3 }), token: fc.nat({ max: 4 }), key: fc.nat({ max: 5 }) });
  const order = fc.shuffledSubarray(NAMES, { minLength: 3 });
  const iota = (length: number) => Float32Array.from({ length }, (_, i) => i);

  it("a permutation and its inverse give the original", () => {
    fc.assert(
      fc.property(sizesOf, order, order, (sizes, from, to) => {
        const values = iota(elementsOf(shapeOf(from.join(" "), sizes)));
        const both = { from: sizes, to: sizes };
        expect(permuteAxes(permuteAxes(values, from, to, both), to, from, both)).toEqual(values);
      }),
    );
  });

  it("an element keeps its indices", () => {
    fc.assert(
      fc.property(sizesOf, order, order, fc.nat(), (sizes, from, to, seed) => {
        const length = elementsOf(shapeOf(from.join(" "), sizes));
        fc.pre(length > 0);
        const flat = (axes: string[], at: Record<string, number>) =>
          axes.reduce((sum, axis) => sum * (sizes[axis as keyof typeof sizes] ?? 0) + (at[axis] ?? 0), 0);
        const at = Object.fromEntries(NAMES.map((axis, i) => [axis, (seed >> i) % sizes[axis as keyof typeof sizes]]));
        expect(permuteAxes(iota(length), from, to, { from: sizes, to: sizes })[flat(to, at)]).toBe(flat(from, at));
      }),
    );
  });

  it("halves are undone by g = 2 (f mod half) + floor(f / half)", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), (half) => {
        const place = placeInHalves(2 * half);
        const back = (f: number) => 2 * (f % half) + Math.floor(f / half);
        for (let g = 0; g < 2 * half; g++) expect(back(place(g))).toBe(g);
      }),
    );
  });

  it("a shape is bound or refused, and what is bound multiplies to it", () => {
    const sizes = fc.array(fc.nat({ max: 6 }), { maxLength: 5 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 6 }), (shape, token) => {
        const table = new AxisTable({ head: 2 });
        const fits = table.fits("token (head head_dim)", shape, { token });
        const bind = () => table.bind("x", "token (head head_dim)", shape, { token });
        if (!fits) expect(bind).toThrow(/^x: shape \[/);
        else {
          bind();
          expect(token * 2 * (table.get("head_dim") ?? Number.NaN)).toBe(elementsOf(shape));
        }
      }),
    );
  });
});
