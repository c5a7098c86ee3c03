/**
 * What another program's kernel says of a case. The f64 oracle and its bounds judge; a witness tells whether the oracle itself can be
 * believed: one that is right by the oracle speaks against a kernel that is not, one that is not right by it speaks against the oracle.
 */
import { roundToHalf } from "../../model/half.ts";
import type { Bounded } from "../../oracle/bounded.ts";
import { type OwnError, ownError } from "../audited-op.ts";
import type { Answer } from "./answer.ts";

/** The first element by which a witness is outside what the oracle allows, or the one that is furthest outside. */
export interface Objection {
  readonly index: number;
  readonly expected: number;
  readonly allowed: number;
  readonly actual: number;
}

export interface Witness {
  /** sum (kernel - witness)^2 / sum witness^2, over elements that are finite on both sides. */
  readonly nmse: number;
  /** Elements that are finite on one side alone. */
  readonly oneSided: number;
  /** The witness against the oracle: sum (witness - expected)^2 / sum expected^2, and its largest share of the rigorous bound. */
  readonly ofOracle: number;
  readonly ofWorst: number;
  /** Null where the witness is right by the oracle. */
  readonly objection: Objection | null;
}

/** A witness, or why a case has none. */
export type Voice = { readonly witness: Witness } | { readonly absent: string };

/**
 * Holds a witness's output (f32) against the oracle and the kernel's output. It is rounded to half where the case is stored so. Its
 * sums may have any order (the bound of this program's own order is tried first: it is at hand), and a dense product of probabilities
 * may take in 0 times the NaN or Inf of a later key.
 */
export function witnessOf(answer: Answer, dtype: "f32" | "f16", kernel: Float32Array, said: Float32Array): Witness {
  const stored = dtype === "f16" ? said.map(roundToHalf) : said;
  const own = (right: Bounded) => ({ right, error: ownError(right, stored, dtype) });
  let judged = own(answer.right);
  if (objects(judged.error)) {
    for (const right of answer.elsewhere()) {
      judged = own(right);
      if (!objects(judged.error)) break;
    }
  }
  const { right, error } = judged;
  return {
    ...beside(kernel, stored),
    ...{ ofOracle: error.relL2 ** 2, ofWorst: error.worstShare },
    objection: objects(error) ? objection(right, error, stored) : null,
  };
}

const objects = ({ beyondWorst, nonFinite }: OwnError) => beyondWorst + nonFinite.unexplained + nonFinite.absorbed > 0;

function objection(
  { expected, worst }: Bounded,
  { beyondWorst, at, nonFinite }: OwnError,
  said: Float32Array,
): Objection {
  const absorbed = expected.findIndex((value, i) => !Number.isFinite(value) && Number.isFinite(said[i]));
  const index = nonFinite.absorbed > 0 ? absorbed : beyondWorst > 0 ? (at?.index ?? 0) : nonFinite.first;
  return {
    ...{ index, expected: expected[index] as number },
    ...{ allowed: worst[index] as number, actual: said[index] as number },
  };
}

function beside(kernel: Float32Array, said: Float32Array): Pick<Witness, "nmse" | "oneSided"> {
  let [error, size, oneSided] = [0, 0, 0];
  for (let i = 0; i < said.length; i++) {
    const [a, b] = [kernel[i] as number, said[i] as number];
    if (Number.isFinite(a) && Number.isFinite(b)) {
      error += (a - b) ** 2;
      size += b * b;
    } else if (Number.isFinite(a) !== Number.isFinite(b)) oneSided++;
  }
  return { nmse: error === 0 ? 0 : error / size, oneSided };
}
