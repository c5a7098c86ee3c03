/** What a planted fault is: a row of the table (`FaultKind`), and a row planted at a tap (`Fault`). */
import type { OpModel } from "../../model/model.ts";
import type { Op, OpKind } from "../../model/ops.ts";
import type { Tokenizer } from "../../model/tokenizer.ts";
import type { Edit } from "../kernels.ts";
import type { Dispatch } from "../lowering.ts";
import type { Site, StoreSite } from "./site.ts";

/** A number that a fault takes after a colon. */
export interface FaultParameter {
  /** What it stands for, for people. */
  readonly name: string;
  readonly least: number;
  readonly whole?: boolean;
  /** Where none is given. */
  readonly usual: (op: Op, model: OpModel) => number;
}

export interface FaultKind {
  readonly id: string;
  /** One sentence for the person who has this bug: what it looks like, why it happens, where to look. */
  readonly what: string;
  /** The kinds of op that it can be planted in; none for faults of the token sequence. */
  readonly kinds: readonly OpKind[];
  /** Names of taps (`q_rope`, `final_norm`) that it is limited to. */
  readonly names?: readonly string[];
  /** Name of the tap that it is planted at unless one is given; in the middle layer, if in a layer. */
  readonly at: string;
  readonly parameter?: FaultParameter;
  /** True if it shows in decode steps only. */
  readonly decoding?: true;
  /** Why it would change nothing here, or null. */
  readonly idle?: (op: Op, model: OpModel, parameter: number) => string | null;
  /** The edits of the block decoders that it is, where it is nothing else: they hold in every kernel that decodes the op's weight. */
  readonly decoder?: (op: Op, model: OpModel) => readonly Edit[];
  /** The dispatches of the op with the fault, given the clean ones. */
  readonly compute?: (site: Site, clean: readonly Dispatch[], parameter: number) => readonly Dispatch[];
  /** The dispatches that put rows into the cache which the op reads. `site` is the producer of those rows. */
  readonly store?: (site: StoreSite, clean: Dispatch) => readonly Dispatch[];
  /** The token sequence with the fault; where it would change nothing, why. */
  readonly tokens?: (tokens: readonly number[], tokenizer: TokenFaultTokenizer) => readonly number[] | string;
}

/** What faults of the sequence need of a tokenizer. */
export type TokenFaultTokenizer = Pick<Tokenizer, "bosId" | "encode" | "decode">;

/** A fault at its place. */
export interface Fault {
  /** As it can be given again: id@tap:parameter. */
  readonly text: string;
  readonly kind: FaultKind;
  /** null for faults of the token sequence. */
  readonly tap: string | null;
  readonly parameter: number;
}

/** Names a family's rows: `family("norm", { eps: {...} })` has the id `norm.eps`. `common` fills in what rows leave out. */
export function family<C extends Partial<FaultKind>>(
  name: string,
  common: C,
  rows: Readonly<Record<string, Omit<FaultKind, "id" | keyof C> & Partial<FaultKind>>>,
): FaultKind[] {
  return Object.entries(rows).map(([id, row]) => ({ ...common, ...row, id: `${name}.${id}` }) as FaultKind);
}
