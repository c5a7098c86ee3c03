/** compare, reference, import and bisect as a user runs them: verdicts, exit statuses, what is left, and one line where it cannot be. */
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { bisectionSchema } from "../../src/report/bisection.ts";
import { comparisonSchema } from "../../src/report/comparison-facts.ts";
import { Trace } from "../../src/trace/reader.ts";
import { tensor, writeDump } from "../support/dump-builder.ts";
import { PROGRAM } from "../support/program.ts";
import { syntheticLlamaFile } from "../support/synthetic-llama.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const HF = join(root, "models/faultline-tiny-f16.hf.arrow");
const TEXT = "In the beginning God created the heaven and";
const folder = mkdtempSync(join(tmpdir(), "faultline-comparing-"));
const at = (name: string) => join(folder, name);

function faultline(args: readonly string[], environment: Record<string, string> = {}) {
  const command = [PROGRAM, ...args];
  const env = { ...process.env, ...environment };
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: root, encoding: "utf8", env });
  const errors = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("Warning: max"));
  return { status, stdout, errors };
}

/** One line, exit 2, and nothing on stdout. */
function expectRefusal(args: readonly string[], line: RegExp, environment: Record<string, string> = {}): void {
  const { status, stdout, errors } = faultline(args, environment);
  expect([status, stdout, errors.length], errors.join("\n")).toEqual([2, "", 1]);
  expect(errors[0]).toMatch(line);
}

const trace = (name: string, ...more: string[]) => {
  const { status, errors } = faultline(["trace", MODEL, "-p", TEXT, "-n", "2", "-o", at(name), "-q", ...more]);
  expect(status, errors.join("\n")).toBe(0);
};

beforeAll(() => {
  trace("full.arrow", "--capture", "full");
  trace("stats.arrow", "--capture", "stats");
  trace("faulty.arrow", "--capture", "full", "--fault", "attn.scale-missing@blk.1.attn_scores");
});

describe("compare", () => {
  it("says match, exit 0, in text and JSON, at mixed capture levels", () => {
    const text = faultline(["compare", HF, at("full.arrow")]);
    expect([text.status, text.errors]).toEqual([0, []]);
    expect(text.stdout.split("\n")[0]).toMatch(
      /^match: 213 records alike at 14 of 16 positions over 3 steps; not compared: 142 expected, 6 actual; nearest /,
    );
    const mixed = faultline(["compare", HF, at("stats.arrow"), "--json"]);
    const document = comparisonSchema.parse(JSON.parse(mixed.stdout));
    expect([mixed.status, document.verdict, document.first, document.totals.matched]).toEqual([0, "match", null, 213]);
    expect(document.ops.every(({ evidence }) => evidence === "statistics" || evidence === "hash")).toBe(true);
  });

  it("tells git bisect to skip what could not be judged", () => {
    expect(faultline(["compare", HF, at("none.arrow"), "--git-bisect"]).status).toBe(125);
    expect(faultline(["compare", HF, at("faulty.arrow"), "--git-bisect"]).status).toBe(1);
  });

  it("names the first op, exit 1, verdict on the first line", () => {
    const { status, stdout } = faultline(["compare", HF, at("faulty.arrow")]);
    expect(status).toBe(1);
    expect(stdout.split("\n")[0]).toMatch(
      /^divergent: blk\.1\.attn_scores \(step 0\) is the first op that differs.*head \d, column \d+: expected/,
    );
    const document = comparisonSchema.parse(
      JSON.parse(faultline(["compare", HF, at("faulty.arrow"), "--json"]).stdout),
    );
    expect(document.first).toMatchObject({ step: 0, tap: "blk.1.attn_scores", op: "attn_scores", kind: "numeric" });
    expect(new Set(document.origins.map(({ tap }) => tap))).toEqual(new Set(["blk.1.attn_scores"]));
  });

  it("reads partial traces, and says so", () => {
    const path = at("cut.arrow.partial");
    copyFileSync(at("full.arrow"), path);
    truncateSync(path, Math.floor(readFileSync(path).length * 0.97));
    const { status, stdout } = faultline(["compare", HF, path]);
    expect(status).toBe(0);
    expect(stdout).toContain("is partial: it was never finished");
  });

  it("refuses what cannot be compared", () => {
    expectRefusal(["compare", HF, at("none.arrow")], /none\.arrow: no such file/);
    expectRefusal(["compare", MODEL, at("full.arrow")], /not a trace/);
    writeFileSync(at("empty.arrow"), "");
    expectRefusal(["compare", HF, at("empty.arrow")], /empty\.arrow/);
    const other = syntheticLlamaFile();
    const oracle = ["--device", "oracle", "-q", "-o"];
    expect(faultline(["trace", other, "--tokens", "1,2,3", ...oracle, at("other.arrow")]).status).toBe(0);
    expectRefusal(["compare", HF, at("other.arrow")], /embd 256|layers 4/);
    expect(faultline(["trace", MODEL, "--tokens", "900,901,902", ...oracle, at("words.arrow")]).status).toBe(0);
    expectRefusal(["compare", HF, at("words.arrow")], /tokens differ from position 0/);
    expect(faultline(["trace", MODEL, "-p", TEXT, "--taps", "rope.*", ...oracle, at("rope.arrow")]).status).toBe(0);
    expectRefusal(["compare", HF, at("rope.arrow")], /none of 355 and 2 records belong together/);
    expectRefusal(
      ["compare", HF, at("full.arrow"), "--envelope", at("words.arrow")],
      /as an envelope it must have the tokens/,
    );
  });
});

describe("bisect", () => {
  it("does it all in one command and leaves everything in one folder", () => {
    const out = at("bisect");
    const bisect = ["bisect", MODEL, "--against", "onnx", "-p", TEXT, "-n", "2", "-o", out];
    const { status, stdout } = faultline([...bisect, "--fault", "kv.newest-duplicated@blk.1.attn_scores"]);
    expect(status).toBe(1);
    expect(stdout).toMatch(
      /^divergent: blk\.1\.attn_scores is wrong by itself in steps 1 to 2: .*kv\.newest-duplicated/,
    );
    const left = ["actual.arrow", "bisect.json", "expected.arrow", "report.html", "report.txt"];
    expect(readdirSync(out).sort()).toEqual(left);
    const document = bisectionSchema.parse(JSON.parse(readFileSync(join(out, "bisect.json"), "utf8")));
    expect(document).toMatchObject({
      verdict: "divergent",
      finding: "own-fault",
      first: { kind: "own-fault", tap: "blk.1.attn_scores", step: 1 },
      diagnosis: { hypothesis: "kv.newest-duplicated" },
      determinism: { verdict: "deterministic" },
    });
    expect(readFileSync(join(out, "report.txt"), "utf8")).toMatch(/^divergent/);
  });

  it("judges another engine's trace: the reference follows its tokens", async () => {
    const out = at("judged");
    const { status, stdout } = faultline([
      "bisect",
      MODEL,
      "--against",
      "llamacpp",
      "--exact",
      "--actual",
      at("faulty.arrow"),
      "-o",
      out,
    ]);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^divergent: blk\.1\.attn_scores is wrong by itself in step/);
    const expected = await Trace.open(join(out, "expected.arrow"));
    const actual = await Trace.open(at("faulty.arrow"));
    expect(expected.manifest.tokens).toEqual(actual.manifest.tokens);
    expect(expected.manifest.producer).toMatchObject({ name: "llama.cpp", settings: { flash_attention: false } });
    await expected.close();
    await actual.close();
  });

  it("sees a fault of the tokens: the reference runs the prompt as it was meant", () => {
    for (const against of ["onnx", HF]) {
      const prompt = against === HF ? [] : ["-p", TEXT, "-n", "1"];
      const bisect = ["bisect", MODEL, "--against", against, ...prompt, "-o", at("tokens"), "--json"];
      const { status, stdout } = faultline([...bisect, "--fault", "token.extra-bos"]);
      const document = bisectionSchema.parse(JSON.parse(stdout));
      expect([status, document.first?.kind, document.tokens.first_difference]).toEqual([1, "token", 1]);
      expect(document.diagnosis?.hypothesis).toBe("token.extra-bos");
    }
  });

  it("holds the weights against ggml's decoder too", () => {
    const bisect = ["bisect", MODEL, "--against", "llamacpp", "--exact", "--weights", "--tokens", "1,2", "-n", "0"];
    const { status, stdout } = faultline([...bisect, "-o", at("weights"), "--json"]);
    const { ops, totals } = bisectionSchema.parse(JSON.parse(stdout));
    expect([status, totals.unmatched, ops.filter(({ tap }) => tap.startsWith("weight:")).length]).toEqual([0, 0, 38]);
  });

  it("follows a trace that is given as the reference", () => {
    const { status, stdout } = faultline(["bisect", MODEL, "--against", HF, "-o", at("given")]);
    expect(status, stdout).toBe(0);
    expect(stdout).toMatch(/^match: 355 records alike over 5 steps/);
  });

  it("refuses what contradicts itself", () => {
    const bisect = ["bisect", MODEL, "-o", at("refused")];
    expectRefusal([...bisect, "-p", "x"], /required option '--against/);
    expectRefusal([...bisect, "--against", "vllm", "-p", "x"], /vllm: no such reference; there are llamacpp, hf, onnx/);
    expectRefusal([...bisect, "--against", HF, "-p", "x"], /says which tokens were run; leave out -p/);
    expectRefusal([...bisect, "--against", "onnx", "--actual", at("none.arrow")], /none\.arrow: no such file/);
    expectRefusal([...bisect, "--against", "onnx"], /no prompt/);
    const judged = [...bisect, "--against", "onnx", "--actual", at("full.arrow")];
    expectRefusal([...judged, "--fault", "act.relu"], /with --actual it does not run/);
    expectRefusal([...bisect, "--against", "hf", "-p", "x", "--layers", "0"], /hf runs all layers/);
    const own = [
      "bisect",
      MODEL,
      "-o",
      at("given"),
      "--against",
      "onnx",
      "--actual",
      join(at("given"), "expected.arrow"),
    ];
    expectRefusal(own, /would be written over; choose another folder/);
    expect(existsSync(at("refused"))).toBe(false);
  });
});

describe("reference", () => {
  it("says what to install where a compiler or Python is missing", () => {
    const tools = at("tools");
    mkdirSync(tools);
    // A shell and what scripts need, but neither compiler nor Python.
    for (const name of [
      "bash",
      "dirname",
      "mkdir",
      "mktemp",
      "rm",
      "cat",
      "sha256sum",
      "cut",
      "uname",
      "ls",
      "find",
      "sort",
      "head",
      "tr",
      "sed",
      "grep",
      "env",
      "id",
    ]) {
      const found = spawnSync("which", [name], { encoding: "utf8" }).stdout.trim();
      if (found !== "") spawnSync("ln", ["-s", found, join(tools, name)]);
    }
    const environment = { PATH: tools, CXX: "", FAULTLINE_CACHE: at("cache") };
    const reference = (name: string) => ["reference", name, MODEL, "--tokens", "1,2", "-q", "-o", at("missing.arrow")];
    expectRefusal(reference("llamacpp"), /install|missing|needs/, environment);
    expectRefusal(reference("hf"), /install Python 3\.11/, environment);
    expect(existsSync(at("missing.arrow"))).toBe(false);
  });

  it("refuses a folder that is no llama.cpp", () => {
    expectRefusal(["reference", "llamacpp", MODEL, "--tokens", "1", "--llama-cpp", folder, "-q"], /llama/);
  });
});

describe("import", () => {
  it("refuses tokens that the model does not have", () => {
    const dump = writeDump({
      tensors: [tensor("embed", [2, 256], Array(512).fill(1))],
      steps: [{ pos_start: 0, tokens: [1, 99999] }],
    });
    const path = at("outside.arrow");
    expectRefusal(
      ["import", dump, "--model", MODEL, "-q", "-o", path],
      /token id 99999 of step 0 is outside the vocabulary/,
    );
    expect(existsSync(path)).toBe(false);
  });
});
