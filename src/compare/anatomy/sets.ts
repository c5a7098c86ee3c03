/** Facts of place: which tokens, heads and columns hold the wrong elements. */
import type { Groups, Tally } from "./tally.ts";

/** A named part of an axis. */
export type Part =
  | "first"
  | "last"
  | "run"
  | "one"
  | "all-but-one"
  | "even"
  | "odd"
  | "first-half"
  | "second-half"
  | "some";

export interface PlaceFact {
  readonly kind: "tokens" | "heads" | "columns";
  readonly part: Part;
  /** Members of the part, ascending: those that are wrong. */
  readonly members: readonly number[];
  readonly of: number;
  /** Share of wrong elements that lie in the part, and share of the part that is wrong. */
  readonly holds: number;
  readonly isWrong: number;
}

/**
 * A part is a fact where all groups are clearly wrong or clearly right: a right one has at most this share of what wrong ones have, a
 * wrong one at least half of the most that any has.
 */
const RIGHT = 0.05;
const WRONG = 0.5;
/** Chance at which wrong elements, strewn evenly, would leave the rest of the axis free, for any of the parts that there are. */
const CHANCE = 1e-9;

export function placeFacts(tally: Tally): PlaceFact[] {
  const { tokens, heads, byColumn, headDim, columns } = tally;
  const [byToken, byHead] = [fact("tokens", tokens, tally), heads === null ? null : fact("heads", heads, tally)];
  const column = fact("columns", byColumn, tally);
  const half = headDim > 2 ? halves(byColumn, headDim, tally) : null;
  const isMerged = byHead !== null && headDim > 0 && column !== null;
  const isOfHeads = isMerged && column.members.length === byHead.members.length * headDim;
  const isListed = column?.part !== "some" || columns <= MOST_LISTED;
  // Whole heads say the same as their columns in fewer words; columns within heads say more.
  const shown = half ?? (isOfHeads || !isListed ? null : column);
  return [shown, isMerged && !isOfHeads ? null : byHead, byToken].filter((each) => each !== null);
}

/** Columns without a pattern are worth listing only if few. */
const MOST_LISTED = 64;

function fact(kind: PlaceFact["kind"], groups: Groups, { wrong: total }: Tally): PlaceFact | null {
  const of = groups.wrong.length;
  const members = split(groups);
  if (members === null || members.length === 0 || members.length === of) return null;
  const inside = members.reduce((sum, each) => sum + (groups.wrong[each] as number), 0);
  const part = partOf(members, of);
  const parts = part === "some" ? logChoices(of, members.length) : Math.log(of * of);
  if (inside * Math.log(members.length / of) + parts > Math.log(CHANCE)) return null;
  const isWrong = inside / (members.length * groups.each);
  return { kind, part, members, of, holds: inside / total, isWrong };
}

/** The wrong ones of groups that part into right and wrong; null where they do not. */
function split({ wrong }: Pick<Groups, "wrong">): number[] | null {
  let most = 0;
  for (const each of wrong) most = Math.max(most, each);
  const members: number[] = [];
  for (const [i, each] of wrong.entries()) {
    if (each >= WRONG * most) members.push(i);
    else if (each > RIGHT * most) return null;
  }
  return most === 0 ? null : members;
}

/** ln of the ways to choose k of n. */
function logChoices(n: number, k: number): number {
  let sum = 0;
  for (let i = 1; i <= Math.min(k, n - k); i++) sum += Math.log((n - i + 1) / i);
  return sum;
}

function partOf(members: readonly number[], of: number): Part {
  const [first = 0, last = 0] = [members[0], members.at(-1)];
  const isRun = last - first + 1 === members.length;
  if (members.length === 1) return first === 0 ? "first" : first === of - 1 ? "last" : "one";
  if (members.length === of - 1 && !(isRun && first === 0)) return "all-but-one";
  if (isRun) return first === 0 ? "first" : last === of - 1 ? "last" : "run";
  const every = members.every((each) => each % 2 === first % 2);
  return every && members.length === Math.ceil((of - (first % 2)) / 2) ? (first % 2 === 0 ? "even" : "odd") : "some";
}

/** The same half of every head. */
function halves(columns: Groups, headDim: number, tally: Tally): PlaceFact | null {
  const within = new Float64Array(headDim);
  for (const [column, wrong] of columns.wrong.entries()) {
    within[column % headDim] = (within[column % headDim] as number) + wrong;
  }
  const members = split({ wrong: within });
  const half = headDim / 2;
  if (members?.length !== half || split(columns)?.length !== columns.wrong.length / 2) return null;
  const part = members.every((each, i) => each === i) ? "first-half" : members[0] === half ? "second-half" : null;
  const inside = members.reduce((sum, each) => sum + (within[each] as number), 0);
  if (part === null || inside * Math.log(0.5) > Math.log(CHANCE)) return null;
  const isWrong = inside / (tally.count / 2);
  return { kind: "columns", part, members, of: headDim, holds: inside / tally.wrong, isWrong };
}
