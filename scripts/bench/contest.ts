/** The same work in every engine, round by round, and what comes out of it. */
import type { DeviceKind } from "../../src/engine/device.ts";
import { type Contender, OWN, UNTRACED } from "./contenders.ts";
import type { Peer, PeerFacts, Round, Work } from "./protocol.ts";
import { median, pairedRatio } from "./statistics.ts";
import { markdownTable, ratioText, short, speed } from "./table.ts";

/** Everything that one engine did in one mode. */
export interface Entry {
  readonly label: string;
  readonly mode: string;
  readonly facts: PeerFacts;
  readonly rounds: Round[];
  /** Of the first round, which compiles what is compiled late; not among `rounds`. */
  readonly warmUpMs: number;
}

export interface Contest {
  readonly entries: readonly Entry[];
  /** Who could not take part, and why. */
  readonly absent: readonly string[];
}

export interface ContestRequest {
  readonly work: Work;
  readonly device: DeviceKind;
  readonly rounds: number;
  readonly peers: readonly Contender[];
}

const wholeMs = ({ prefill_ms, decode_ms }: Round) => decode_ms.reduce((sum, ms) => sum + ms, prefill_ms);

/** Our engine first, then the peers; every process stays, so that each round has all of them one after the other. */
export async function runContest({ work, device, rounds, peers }: ContestRequest): Promise<Contest> {
  const running: Peer[] = [];
  const turns: { peer: Peer; entry: Entry }[] = [];
  const absent: string[] = [];
  let software = false;
  try {
    for (const contender of [OWN, ...peers]) {
      try {
        console.error(`bench: starting ${contender.label}`);
        const peer = await contender.start(work, device, software);
        running.push(peer);
        software ||= peer.facts.software ?? false;
        for (const mode of contender.modes) {
          const warmUpMs = wholeMs(await peer.round(mode));
          turns.push({ peer, entry: { label: contender.label, mode, facts: peer.facts, rounds: [], warmUpMs } });
        }
      } catch (error) {
        if (contender === OWN) throw error;
        absent.push(`${contender.label}: ${(error as Error).message.split("\n")[0]}`);
      }
    }
    for (let round = 0; round < rounds; round++) {
      // Forwards and backwards, so that a machine that gets busier favours nobody.
      for (const { peer, entry } of round % 2 === 0 ? turns : [...turns].reverse()) {
        if (absent.some((line) => line.startsWith(`${entry.label}: `))) continue;
        try {
          entry.rounds.push(await peer.round(entry.mode));
        } catch (error) {
          if (entry.label === OWN.label) throw error;
          absent.push(`${entry.label}: in round ${round + 1}, ${(error as Error).message}`);
        }
      }
      console.error(`bench: round ${round + 1} of ${rounds}`);
    }
  } finally {
    for (const peer of running) await peer.close();
  }
  return { entries: turns.map(({ entry }) => entry).filter((entry) => entry.rounds.length > 0), absent };
}

const prefills = (entry: Entry) => entry.rounds.map((round) => round.prefill_ms);
/** The middle decode step of each round. */
const decodes = (entry: Entry) => entry.rounds.map((round) => median(round.decode_ms));

function untraced({ entries }: Contest): Entry {
  const entry = entries.find((each) => each.label === OWN.label && each.mode === UNTRACED);
  if (entry === undefined) throw new Error("our engine took no part");
  return entry;
}

/** Where the likeliest tokens are ours: an engine that computes something else is not a peer. */
function agreement(entry: Entry, own: Entry): string {
  const [theirs = [], ours = []] = [entry.rounds[0]?.next, own.rounds[0]?.next];
  return `${theirs.filter((token, i) => token === ours[i]).length}/${ours.length}`;
}

export function peersTable(contest: Contest, work: Work): string {
  const own = untraced(contest);
  const shown = contest.entries.filter((entry) => entry.label !== OWN.label || entry === own);
  const header = [
    ...["engine", `prefill, ${work.prompt.length} tokens`, "decode, one token", "prefill: its time / ours"],
    ...["decode: its time / ours", "likeliest tokens as ours", "warm-up"],
  ];
  const rows = shown.map((entry) => [
    entry.label,
    speed(median(prefills(entry)), work.prompt.length),
    work.decode.length === 0 ? "" : speed(median(decodes(entry)), 1),
    entry === own ? "1" : ratioText(pairedRatio(prefills(entry), prefills(own)), "x"),
    entry === own ? "1" : ratioText(pairedRatio(decodes(entry), decodes(own)), "x"),
    entry === own ? "" : agreement(entry, own),
    `${short(entry.warmUpMs / 1000)} s`,
  ]);
  const who = shown.map(({ label, facts }) => `- ${label}: ${facts.engine} on ${facts.device}; ${facts.settings}`);
  const absent = contest.absent.map((line) => `- not measured: ${line}`);
  return [markdownTable(header, rows), "", ...who, ...absent].join("\n");
}

export function overheadTable(contest: Contest, work: Work): string {
  const own = untraced(contest);
  const rows = contest.entries
    .filter((entry) => entry.label === OWN.label)
    .map((entry) => [
      entry.mode,
      speed(median(prefills(entry)), work.prompt.length),
      speed(median(decodes(entry)), 1),
      ratioText(pairedRatio(prefills(entry), prefills(own))),
      ratioText(pairedRatio(decodes(entry), decodes(own))),
      ratioText(pairedRatio(entry.rounds.map(wholeMs), own.rounds.map(wholeMs))),
    ]);
  const of = (what: string) => `${what} / untraced`;
  const header = ["capture", `prefill, ${work.prompt.length} tokens`, "decode, one token"];
  return markdownTable([...header, ...["prefill", "decode", "whole run"].map(of)], rows);
}
