/**
 * "Is it the cache?" (docs/commands.md, `kv`): each suspicion of the story planted in turn and told apart from the others; and none.
 */
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readsCache } from "../../src/compare/cache-check.ts";
import { cacheSchema } from "../../src/report/cache-check.ts";
import { expectRefused, faultline } from "../support/cli.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const folder = mkdtempSync(join(tmpdir(), "faultline-cache-"));

function checked(...options: string[]) {
  const { status, stdout, stderr } = faultline("kv", MODEL, "--json", "--quiet", ...options);
  expect(stdout, stderr).not.toBe("");
  return { status, ...cacheSchema.parse(JSON.parse(stdout)) };
}

const planted = (...faults: string[]) =>
  checked("-p", "In the beginning God", "-n", "2", ...faults.flatMap((fault) => ["--fault", fault]));
const blamed = ({ suspicions }: ReturnType<typeof checked>) =>
  suspicions.filter(({ verdict }) => verdict !== "clean").map(({ suspicion }) => suspicion);

describe("the cache", () => {
  it("clean: token by token is the prefill to the bit, after a reset too, and no op is at fault", () => {
    const kept = join(folder, "kept");
    const facts = checked("-p", "In the beginning God", "-n", "2", "-o", kept);
    expect([facts.status, facts.verdict]).toEqual([0, "match"]);
    expect([facts.stepped.exact, facts.after_reset?.exact]).toEqual([true, true]);
    expect(blamed(facts)).toEqual([]);
    // 71 ops at each position but for the rotary tables.
    expect(facts.stepped.ops).toBe(71 * facts.tokens.length);
    for (const name of ["prefill", "stepped", "after-reset"])
      expect(existsSync(join(kept, `${name}.arrow`))).toBe(true);
  });

  it.each([
    ["kv.stale", "cache", "blk.2.attn_scores"],
    ["kv.newest-dropped", "cache", "blk.2.attn_scores"],
    ["kv.slot-plus-one", "cache", "blk.2.attn_scores"],
    ["kv.v-stale", "cache", "blk.2.attn_ctx"],
    ["rope.pairing", "rope", "blk.2.q_rope"],
    ["attn.scale-missing", "attention", "blk.2.attn_scores"],
    ["head.norm-missing", "head", "final_norm"],
    ["norm.weight-missing@blk.1.ffn_norm", "other", "blk.1.ffn_norm"],
  ])("%s: it is the %s, at %s", (fault, suspicion, tap) => {
    const facts = planted(fault);
    const isCache = suspicion === "cache";
    expect([facts.status, facts.verdict]).toEqual([1, "divergent"]);
    expect(blamed(facts)).toEqual([suspicion]);
    expect(facts.suspicions.flatMap(({ faults }) => faults.map((each) => each.tap))).toEqual([tap]);
    const { faults } = facts.suspicions.find((each) => each.suspicion === suspicion) ?? { faults: [] };
    const named = [
      faults[0]?.diagnosis?.hypothesis,
      ...(faults[0]?.diagnosis?.ties ?? []).map((tie) => tie.hypothesis),
    ];
    expect(named).toContain(fault.replace(/[@:].*/, ""));
    // Only a wrong cache makes steps part from a prefill; and it does so from the first position that reads one.
    expect(facts.stepped.verdict).toBe(isCache ? "parts" : "alike");
    if (isCache) expect(facts.stepped.first).toMatchObject({ position: 1, tap });
    else expect(facts.sentence).toMatch(/^the cache is not it: token by token is the prefill to the bit/);
  });

  it("a cache that is right at first and wrong after a reset", () => {
    const [clean, stale] = [join(folder, "clean"), join(folder, "stale")];
    const run = ["-p", "In the beginning God", "-n", "0"];
    checked(...run, "-o", clean, "--no-audit");
    checked(...run, "-o", stale, "--no-audit", "--fault", "kv.stale");
    const traces = ["prefill", "stepped"].flatMap((name) => [`--${name}`, join(clean, `${name}.arrow`)]);
    const facts = checked(...traces, "--after-reset", join(stale, "stepped.arrow"));
    expect([facts.status, facts.stepped.verdict, facts.after_reset?.verdict]).toEqual([1, "alike", "parts"]);
    expect(facts.after_reset?.first).toMatchObject({ position: 1, tap: "blk.2.attn_scores" });
    expect([facts.audited, blamed(facts)]).toEqual(["after-reset", ["cache"]]);
    expect(facts.sentence).toMatch(/after the reset blk\.2\.attn_scores is wrong by itself .*kv\.stale/);
  });

  it("a prefill that is wrong is named as such: only there do rows see later keys", () => {
    const facts = planted("attn.mask-missing");
    expect(facts.audited).toBe("prefill");
    expect(facts.sentence).toMatch(/it is the prefill that is wrong: blk\.2\.attn_probs .*attn\.mask-missing/);
    expect(blamed(facts)).toEqual(["attention"]);
  });

  it("names the fault at the op that parts, whichever run has it, and the others beside it", () => {
    const earlier = planted("norm.mean-subtracted@blk.0.attn_norm", "kv.stale@blk.2.attn_scores");
    expect(earlier.sentence).toMatch(
      /; blk\.2\.attn_scores is wrong .*\(kv\.stale\); blk\.0\.attn_norm is at fault too$/,
    );
    expect(blamed(earlier)).toEqual(["cache", "other"]);
    const both = planted("attn.mask-missing@blk.0.attn_probs", "kv.other-layer@blk.3.attn_ctx");
    expect(both.sentence).toMatch(
      /it is the prefill that is wrong: blk\.0\.attn_probs .*\(attn\.mask-missing\); blk\.3\.attn_ctx is at fault too$/,
    );
    expect(blamed(both)).toEqual(["cache", "attention"]);
  });

  it("two traces of another engine are judged alike", () => {
    const kept = join(folder, "foreign");
    const own = checked("-p", "In the beginning God", "-n", "2", "--fault", "kv.stale@blk.1.attn_scores", "-o", kept);
    const [prefill, stepped] = [join(kept, "prefill.arrow"), join(kept, "stepped.arrow")];
    const facts = checked("--prefill", prefill, "--stepped", stepped);
    expect(facts.stepped.first?.tap).toBe("blk.1.attn_scores");
    expect(blamed(facts)).toEqual(["cache"]);
    expect(facts.after_reset).toBeNull();
    expect(facts.stepped.first).toEqual(own.stepped.first);
    // Without the proof nothing is accused: a wrong prefill parts too.
    const unproved = checked("--prefill", prefill, "--stepped", stepped, "--no-audit");
    expect([unproved.status, unproved.verdict]).toEqual([1, "divergent"]);
    expect(new Set(unproved.suspicions.map(({ verdict }) => verdict))).toEqual(new Set(["not-judged"]));
    expect(unproved.sentence).toMatch(/first at blk\.1\.attn_scores .*; which op or run is wrong only an audit tells$/);

    for (const [args, words] of [
      [["--prefill", stepped, "--stepped", prefill], /none of its positions was computed from a cache/],
      [["--prefill", prefill, "--stepped", stepped, "-o", join(folder, "none")], /leave out .* -o/],
      [["-p", "x", "-n", "1", "-o", kept], /stepped\.arrow: is there already; choose another folder/],
      [["-p", "x", "-n", "1", "-o", prefill], /prefill\.arrow: cannot be made a folder/],
      [["--prefill", prefill], /--prefill and --stepped go together/],
      [["--prefill", prefill, "--stepped", stepped, "-p", "x"], /leave out -p/],
      [["--tokens", "1", "-n", "0"], /1 position: nothing is read from a cache/],
      [["--tokens", "1", "-n", "600"], /exceed the model's context of 512/],
      [["-p", "x", "--no-kv-cache"], /--no-kv-cache: the cache is what is looked at/],
      [["-p", "x", "--device", "oracle"], /--device oracle: the engine's cache is what is looked at/],
    ] as const) {
      expectRefused(["kv", MODEL, ...args], words);
    }
  });
});

describe("which runs can show a cache", () => {
  /** Any cutting of a sequence into steps. */
  const steps = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 8 }).map((sizes) => {
    let next = 0;
    return sizes.map((size) => {
      const posStart = next;
      next += size;
      return { posStart, tokens: new Array<number>(size).fill(1) };
    });
  });
  it("a run shows nothing beside itself, and one step something beside any run of several", () => {
    fc.assert(
      fc.property(steps, (run) => {
        const length = run.reduce((sum, { tokens }) => sum + tokens.length, 0);
        const whole = [{ posStart: 0, tokens: new Array<number>(length).fill(1) }];
        expect(readsCache(run, run)).toBe(false);
        expect(readsCache(whole, run)).toBe(run.length > 1);
      }),
    );
  });
});
