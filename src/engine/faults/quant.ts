/** Faults of block decoders, planted in the decoder of the weight's own type. */
import type { OpModel } from "../../model/model.ts";
import type { Op } from "../../model/ops.ts";
import type { Edit } from "../kernels.ts";
import { type FaultKind, family } from "./fault.ts";
import { edit } from "./site.ts";

/** Edits by block type; `wide`: needs a row of more than one block. */
interface QuantRow {
  readonly what: string;
  readonly wide?: true;
  readonly edits: Readonly<Record<string, readonly Edit[]>>;
}

const same = (types: readonly string[], ...edits: Edit[]) => Object.fromEntries(types.map((type) => [type, edits]));

const LOW = "out.q[i] = low;";
const HIGH = "out.q[i + 4u] = high;";
/** The bytes of `low` and `high` in turn. */
const NEIGHBOURS = `out.q[2u * i] = (low & 0xffu) | ((high & 0xffu) << 8u) | ((low & 0xff00u) << 8u) | ((high & 0xff00u) << 16u);
    out.q[2u * i + 1u] = ((low >> 16u) & 0xffu) | ((high >> 8u) & 0xff00u) | ((low >> 8u) & 0xff0000u) | (high & 0xff000000u);`;
const K_NIBBLES = "var q = (weight[qs + i] >> (4u * (s & 1u))) & 0x0f0f0f0fu;";
/** Element e of a pair of sub-blocks in nibble e mod 2 of byte e / 2. */
const K_NEIGHBOURS = `let two = weight[qs + 4u * (s & 1u) + i / 2u] >> (16u * (i & 1u));
    var q = (two & 15u) | ((two & 0xf0u) << 4u) | ((two & 0xf00u) << 8u) | ((two & 0xf000u) << 12u);`;
const SCALES = "let scale = select((c & 15u) | ((a >> 6u) << 4u), a & 63u, s < 4u);";
const MINS = "let min = select((c >> 4u) | ((b >> 6u) << 4u), b & 63u, s < 4u);";
const K_MIN = "let m = high_half(weight[at]) * f32(min);";
const MIN = "m = high_half(head);";
const Q2_MIN = "out.offset = -dmin *";
const Q6 = "out.q[i] = low | (high << 4u);";
const Q3 = "out.q[i] = q | (keep << 2u);";

const ZEROS = { Q4_0: 8, Q5_0: 16, Q6_K: 32, Q3_K: 4 };
const WITH_MIN = ["Q4_1", "Q5_1"];
const TWO_LEVELS = ["Q4_K", "Q5_K"];

/** A scale `words` further on; the row's end reads its own again, as the buffer ends there too. */
const nextScale = (line: string, at: string, words: number): readonly Edit[] => [
  [
    line,
    line.replace(`weight[${at}]`, `weight[select(${at}, ${at} + ${words}u, ${at} + ${words}u < arrayLength(&weight))]`),
  ],
];

const QUANT_ROWS: Readonly<Record<string, QuantRow>> = {
  "nibble-order": {
    what: "Weights are right and in the wrong columns: a byte's two nibbles were taken for neighbours 2j and 2j + 1, GGUF has them half a block apart (j and j + 16; K-quants j and j + 32).",
    edits: {
      ...same(["Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL"], [LOW, ""], [HIGH, NEIGHBOURS]),
      ...same(TWO_LEVELS, [K_NIBBLES, K_NEIGHBOURS]),
    },
  },
  "zero-point": {
    what: "Every output is shifted by a multiple of its input's sum, activations grow fast: the constant 8 (Q4_0), 16 (Q5_0), 32 (Q6_K) or 4 (Q3_K) was not subtracted from the quants.",
    edits: Object.fromEntries(
      Object.entries(ZEROS).map(([type, zero]) => [type, [[`(bytes(q) - ${zero}.0) * scale`, "bytes(q) * scale"]]]),
    ),
  },
  "min-sign": {
    what: "Weights lose their balance around zero: the block's minimum has the wrong sign; Q4_1 and Q5_1 add m, K-quants subtract dmin * min.",
    edits: {
      ...same(WITH_MIN, [MIN, "m = -high_half(head);"]),
      ...same(TWO_LEVELS, [K_MIN, K_MIN.replace("= ", "= -")]),
      Q2_K: [[Q2_MIN, "out.offset = dmin *"]],
    },
  },
  "min-missing": {
    what: "All weights of a block have one sign: its minimum (m, or dmin * min) was never applied.",
    edits: {
      ...same(WITH_MIN, [MIN, "m = 0.0;"]),
      ...same(TWO_LEVELS, [K_MIN, "let m = 0.0;"]),
      Q2_K: [[Q2_MIN, "out.offset = 0.0 *"]],
    },
  },
  "scale-shift": {
    what: "Outputs correlate well with what is expected and are off by some percent, in groups of a block: each block is scaled by the next block's d; look at the offset of the scale.",
    wide: true,
    edits: {
      ...same(
        ["Q4_0", "Q4_1", "IQ4_NL"],
        [
          "let head = weight[at];",
          "let head = weight[at];\n  let next = weight[select(at, at + 5u, at + 5u < arrayLength(&weight))];",
        ],
        ["let d = low_half(head);", "let d = low_half(next);"],
      ),
      ...same(
        ["Q5_0", "Q5_1"],
        [
          "let head = weight[at];",
          "let head = weight[at];\n  let next = weight[select(at, at + 6u, at + 6u < arrayLength(&weight))];",
        ],
        ["let d = low_half(head);", "let d = low_half(next);"],
      ),
      Q8_0: nextScale("let d = low_half(weight[at]);", "at", 9),
      Q2_K: nextScale("let d = low_half(weight[at + 20u]);", "at + 20u", 21),
      Q3_K: nextScale("let d = low_half(weight[at + 27u]);", "at + 27u", 28),
      Q4_K: nextScale("let d = low_half(weight[at]) * f32(scale);", "at", 36),
      Q5_K: nextScale("let d = low_half(weight[at]) * f32(scale);", "at", 44),
      Q6_K: nextScale("let d = low_half(weight[at + 52u]);", "at + 52u", 53),
    },
  },
  "scale-unsigned": {
    what: "Some groups of 16 weights are far too large: Q6_K's 8-bit scales are signed and were read as 0 to 255.",
    edits: {
      Q6_K: [
        [
          "let scales = vec4f(unpack4xI8(weight[at + 48u + s / 2u]));",
          "let scales = vec4f(unpack4xU8(weight[at + 48u + s / 2u]));",
        ],
      ],
    },
  },
  "scale-high-bits": {
    what: "The second half of each block of 256 is too small: scales and minima of sub-blocks 4 to 7 keep their two high bits in other bytes, and these were not put on.",
    edits: same(
      TWO_LEVELS,
      [SCALES, "let scale = select(c & 15u, a & 63u, s < 4u);"],
      [MINS, "let min = select(c >> 4u, b & 63u, s < 4u);"],
    ),
  },
  "high-bit-missing": {
    what: "Weights saturate at the range of fewer bits: the plane of high bits (qh, hmask) was not put onto the quants.",
    edits: {
      ...same(["Q5_0", "Q5_1"], ["if (fifth) { qh = weight[at + 1u]; }", ""]),
      Q5_K: [["{ q |= ((weight[at + 4u + i] >> s) & 0x01010101u) << 4u; }", "{ }"]],
      Q6_K: [[Q6, "out.q[i] = low;"]],
      Q3_K: [[Q3, "out.q[i] = q;"]],
    },
  },
  "block-stride": {
    what: "The first block of each row is right, the rest is noise or NaN: blocks are stepped with a wrong size in bytes; look at padding and at sizeof of the block.",
    wide: true,
    edits: {
      ...same(["Q4_0", "Q4_1", "IQ4_NL"], ["nibbles(row + block * 5u)", "nibbles(row + block * 4u)"]),
      ...same(["Q5_0", "Q5_1"], ["nibbles(row + block * 6u)", "nibbles(row + block * 5u)"]),
      Q8_0: [["q8_0(row + block * 9u)", "q8_0(row + block * 8u)"]],
      Q2_K: [["(block / 8u) * 21u", "(block / 8u) * 20u"]],
      Q3_K: [["(block / 8u) * 28u", "(block / 8u) * 27u"]],
      Q4_K: [["(block / 8u) * 36u", "(block / 8u) * 35u"]],
      Q5_K: [["(block / 8u) * 44u", "(block / 8u) * 43u"]],
      Q6_K: [["(block / 8u) * 53u", "(block / 8u) * 52u"]],
    },
  },
};

const typeOf = (op: Op, model: OpModel) => model.file.tensor(op.weights[0] ?? "").type.name;

const rows = Object.entries(QUANT_ROWS).map(
  ([name, { what, wide, edits }]): [string, Pick<FaultKind, "what" | "idle" | "decoder" | "compute">] => [
    name,
    {
      what,
      idle: (op, model) => {
        const { type, columns } = model.file.tensor(op.weights[0] ?? "");
        const types = Object.keys(edits);
        if (!types.includes(type.name))
          return `${op.weights[0]} is ${type.name}; it can be planted in ${types.join(", ")}`;
        return wide && columns === type.elements ? `a row of ${op.weights[0]} is one block` : null;
      },
      decoder: (op, model) => edits[typeOf(op, model)] ?? [],
      compute: (site, clean) => edit(clean, "linear", ...(edits[typeOf(site.op, site.model)] ?? [])),
    },
  ],
);

export const QUANT: readonly FaultKind[] = family(
  "quant",
  { kinds: ["linear"], at: "q_proj" } as const,
  Object.fromEntries(rows),
);
