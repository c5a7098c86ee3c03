/** `import ... from "faultline"`: a model traced, compared, audited, diagnosed, and what each call refuses. */
import { existsSync, mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  audit,
  compareTraces,
  diagnose,
  InputError,
  InterruptedError,
  openTrace,
  TraceError,
  traceModel,
} from "../../src/api/index.ts";
import { faultline } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-library-"));
const model = join(import.meta.dirname, "../../models/faultline-tiny-f16.gguf");
const path = (name: string) => join(folder, `${name}.arrow`);
const tokens = [1, 20, 300, 41];
const faults = ["rope.pairing@blk.2.q_rope"];

/** The hashes of all records, which say whether two runs gave the same bits. */
async function hashes(file: string): Promise<string[]> {
  const trace = await openTrace(file);
  const found = trace.records.map(({ step, tap, hash }) => `${step} ${tap} ${hash}`);
  await trace.close();
  return found;
}

let generated: readonly number[] = [];

beforeAll(async () => {
  const clean = await traceModel({ model, tokens, steps: 2, capture: "full", output: path("clean") });
  generated = clean.generated.slice(0, 2);
  await traceModel({ model, tokens, follow: generated, capture: "full", faults, output: path("wrong") });
  await traceModel({ model, tokens, follow: generated, faults, output: path("sketched") });
  const embedded = { taps: ["embed"], device: "oracle", capture: "full", output: path("embedded") } as const;
  await traceModel({ model, tokens, follow: generated, ...embedded });
  await traceModel({ model, tokens: [...tokens, 7, 8], capture: "full", output: path("longer") });
});

describe("traceModel", () => {
  it("gives the bits of the command, and says what it made", async () => {
    const args = ["trace", model, "--tokens", tokens.join(), "-n", "2", "-q", "-o", path("command")];
    expect(faultline(...args).status).toBe(0);
    expect(await hashes(path("clean"))).toEqual(await hashes(path("command")));
    const made = await traceModel({ model, prompt: "Once", steps: 1, taps: ["logits"], output: path("few") });
    expect(made).toMatchObject({ file: path("few"), records: 2, steps: 2 });
    expect(made.text).not.toBe("");
    expect(made.generated).toHaveLength(2);
  });

  it("follows the tokens of another run, as many as it is given", async () => {
    const chosen = [7, 8, 9];
    await traceModel({ model, tokens, follow: chosen, taps: ["embed"], device: "oracle", output: path("followed") });
    const trace = await openTrace(path("followed"));
    expect(trace.manifest.tokens).toEqual([tokens, [7], [8], [9]]);
    await trace.close();
  });

  it("tells how far it is, and stops where it is asked to", async () => {
    const parts = new Set<string>();
    const abort = new AbortController();
    const run = traceModel({
      ...{ model, tokens, steps: 400, taps: ["logits"], output: path("stopped"), signal: abort.signal },
      progress: (done, total, part) => {
        parts.add(part);
        expect(done).toBeLessThanOrEqual(total);
        if (part === "steps" && done === 3) abort.abort();
      },
    });
    await expect(run).rejects.toBeInstanceOf(InterruptedError);
    await expect(run).rejects.toThrow(/interrupted after 3 of 401 steps; .*stopped\.arrow\.partial holds 3 records/);
    expect([...parts]).toEqual(["weights", "steps"]);
    const broken = await openTrace(`${path("stopped")}.partial`);
    expect(broken.records).toHaveLength(3);
    await broken.close();
    await expect(traceModel({ model, tokens, output: path("none"), signal: abort.signal })).rejects.toThrow(/abort/);
    expect(existsSync(path("none"))).toBe(false);
  });

  it("runs twice at once in one process", async () => {
    await Promise.all(["a", "b"].map((name) => traceModel({ model, tokens, output: path(name) })));
    expect(await hashes(path("a"))).toEqual(await hashes(path("b")));
  });

  it.each([
    ["no prompt", {}, /0 prompts; give one of prompt, chat, tokens/],
    ["two prompts", { prompt: "a", chat: "b" }, /2 prompts/],
    ["a name that is none", { prompt: "a", step: 3 }, /"step"; there are model, output, prompt/],
    ["a text for a number", { prompt: "a", steps: "3" }, /steps: .*expected number, received string$/],
    ["no device", { prompt: "a", device: "cuda" }, /device: .*"auto"\|"hardware"/],
    ["too few tokens to follow", { prompt: "a", steps: 3, follow: [1] }, /follow holds 1 tokens for 3 steps/],
    ["a followed token of no vocabulary", { prompt: "a", follow: [99999] }, /99999 of a decode step is outside/],
    ["a fault in the oracle", { prompt: "a", device: "oracle", faults }, /planted in GPU kernels/],
    ["a model that is none", { prompt: "a", model: "none.gguf" }, /none\.gguf: no such file/],
    ["no tap", { prompt: "a", taps: ["nothing"] }, /no tap matches nothing/],
  ])("refuses %s, and leaves nothing", async (_, given, words) => {
    const options = { model, output: path("refused"), ...given } as Parameters<typeof traceModel>[0];
    const refusal = await traceModel(options).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(InputError);
    expect(String(refusal)).toMatch(words);
    expect(String(refusal)).not.toContain("\n");
    expect(readdirSync(folder).filter((name) => name.startsWith("refused"))).toEqual([]);
  });
});

describe("judging", () => {
  it("compares paths and open traces alike, and closes only its own", async () => {
    const trace = await openTrace(path("wrong"));
    for (const actual of [path("wrong"), trace]) {
      const { verdict, ops } = await compareTraces(path("clean"), actual);
      expect(verdict).toBe("divergent");
      expect(ops.find(({ isOrigin }) => isOrigin)?.tap).toBe("blk.2.q_rope");
    }
    expect((await trace.values(0)).length).toBeGreaterThan(0);
    await trace.close();
    expect((await compareTraces(path("clean"), path("clean"))).verdict).toBe("match");
  });

  it.each([0, 2])("audits with %i threads: the op, the bug, one line", async (workers) => {
    const wrong = await audit(path("wrong"), { model, workers });
    expect(wrong.verdict).toBe("divergent");
    expect(wrong.faults.map(({ tap }) => tap)).toEqual(["blk.2.q_rope"]);
    expect(wrong.line).toMatch(/^divergent: blk\.2\.q_rope is wrong by itself in steps 0 to 2: .*\(rope\.pairing\)$/);
    const right = await audit(path("clean"), { model, workers, taps: ["blk.2.*"] });
    expect(right).toMatchObject({ verdict: "match", faults: [], line: expect.stringMatching(/^match/) });
    expect(new Set(right.ops.map(({ tap }) => tap.slice(0, 6)))).toEqual(new Set(["blk.2."]));
  });

  it.each([
    ["values", "wrong", {}],
    ["sketches, beside the oracle", "sketched", {}],
    ["sketches, beside a reference", "sketched", { against: path("clean") }],
  ])("diagnoses from %s", async (_, name, given) => {
    const { ops, line } = await diagnose(path(name), { model, ...given });
    expect(ops.map(({ tap, diagnosis }) => [tap, diagnosis?.causes.map(({ hypothesis }) => hypothesis)])).toEqual([
      ["blk.2.q_rope", ["rope.pairing"]],
    ]);
    expect(line).toMatch(/^divergent: blk\.2\.q_rope from step 0 on: .*\(rope\.pairing\)$/);
  });

  it("finds nothing in a right run", async () => {
    expect(await diagnose(path("clean"), { model })).toMatchObject({ ops: [], judged: { by: "audit", notJudged: 0 } });
  });

  it("says what it could not judge beside a reference that has little", async () => {
    const given = { model, against: path("embedded") };
    expect(await diagnose(path("sketched"), given)).toMatchObject({
      ops: [],
      judged: { by: "comparison", ops: 219, notJudged: 216 },
    });
    const { status, stdout } = faultline(
      "diagnose",
      path("sketched"),
      "--model",
      model,
      "--against",
      path("embedded"),
      "-q",
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/^match: .*\nnote: 216 of 219 ops could not be judged; faultline compare says why\n$/);
  });

  it("refuses what it cannot judge in one line", async () => {
    const wrongly = <T>(given: unknown) => given as T;
    const refused: [() => Promise<unknown>, RegExp][] = [
      [() => audit(path("sketched"), { model }), /holds no values in \d+ records/],
      [() => audit(path("clean"), wrongly({})), /audit: model: .*expected string/],
      [() => audit(wrongly(3), { model }), /what is audited is number; a trace or the path of one/],
      [() => audit(path("clean"), { model, taps: ["nothing"] }), /no op matches nothing/],
      [() => diagnose(path("clean"), { model, tap: "blk.9.q_rope" }), /blk\.9\.q_rope: no op of/],
      [() => diagnose(path("sketched"), { model, against: path("sketched") }), /holds no values; give a reference/],
      [
        () => diagnose(path("sketched"), { model, against: path("clean"), tap: "logits" }),
        /logits of step 0 differs, and so does what feeds it: whether it is at fault itself cannot be told/,
      ],
      [
        () => diagnose(path("sketched"), { model, against: path("embedded"), tap: "logits" }),
        /no record of logits could be compared/,
      ],
      [
        () => diagnose(path("sketched"), { model, against: path("longer") }),
        /step 0 has 6 tokens in one, 4 tokens in the/,
      ],
      [() => compareTraces(path("clean"), wrongly(undefined)), /what is judged is undefined/],
      [() => compareTraces(path("clean"), path("wrong"), wrongly({ envelop: "x" })), /"envelop"; there are envelope/],
    ];
    for (const [call, words] of refused) {
      const refusal = await call().catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(InputError);
      expect(String(refusal)).toMatch(words);
      expect(String(refusal)).not.toContain("\n");
    }
    await expect(openTrace(path("absent"))).rejects.toBeInstanceOf(TraceError);
  });
});
