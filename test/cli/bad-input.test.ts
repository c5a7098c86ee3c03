/** The command line given what it cannot use: one line that names it, exit status 2, and nothing left behind. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Message, tableFromArrays, tableToIPC } from "apache-arrow";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TraceError } from "../../src/trace/errors.ts";
import { Trace } from "../../src/trace/reader.ts";
import { ggufBytes, type MetadataValue } from "../support/gguf-builder.ts";
import { PROGRAM } from "../support/program.ts";
import { syntheticLlama } from "../support/synthetic-llama.ts";

/** What Dawn itself prints: at start-up, and where no driver is found. */
const DAWN = [
  /^Warning: maxDynamic(Uniform|Storage)BuffersPerPipelineLayout artificially reduced from \d+ to \d+ to fit dynamic offset allocation limit\.$/,
  /^Warning: vkCreateInstance: Found no drivers!$/,
  /^Warning: vkCreateInstance failed with VK_ERROR_INCOMPATIBLE_DRIVER$/,
  /^ {4}at CheckVkSuccessImpl \(.*VulkanError\.cpp:\d+\)$/,
];

const folder = mkdtempSync(join(tmpdir(), "faultline-cli-"));
const at = (name: string) => join(folder, name);
const full = at("full");
let mounted = false;
afterAll(() => {
  if (mounted) execFileSync("umount", [full]);
  rmSync(folder, { recursive: true });
});

const ORACLE = ["--device", "oracle"];
const CONTEXT = 4096;

beforeAll(() => {
  const spec = syntheticLlama({ context: CONTEXT });
  const named = (metadata: Record<string, MetadataValue>) =>
    ggufBytes({ ...spec, metadata: { ...spec.metadata, ...metadata } });
  writeFileSync(at("m.gguf"), ggufBytes(spec));
  writeFileSync(at("cut.gguf"), ggufBytes(spec).subarray(0, 100_000));
  writeFileSync(
    at("escape.gguf"),
    named({ "general.architecture": { type: "string", value: "a\n\u001b[2Jb\u2028c" } }),
  );
  const plain = Object.entries(spec.metadata).filter(([key]) => !key.startsWith("tokenizer."));
  writeFileSync(at("no-tokenizer.gguf"), ggufBytes({ ...spec, metadata: Object.fromEntries(plain) }));
  writeFileSync(
    at("padded.gguf"),
    named({
      "tokenizer.ggml.tokens": { type: "strings", value: [..."abcdefgh"] },
      "tokenizer.ggml.token_type": { type: "i32s", value: Array<number>(8).fill(1) },
    }),
  );
  mkdirSync(at("folder.arrow"));
  mkdirSync(full);
  writeFileSync(at("arrow"), tableToIPC(tableFromArrays({ a: [1, 2, 3] }), "file"));
  const newer = tableFromArrays({ a: [1] });
  newer.schema.metadata.set("faultline.version", "2");
  writeFileSync(at("newer.arrow"), tableToIPC(newer, "file"));
  const made = faultline("trace", "m.gguf", "--tokens", "1,2,3", "-n", "2", "-o", "good.arrow", ...ORACLE);
  expect(made).toMatchObject({ status: 0, stderr: "" });
});

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Standard error without what Dawn prints. */
function ours(stderr: string): string {
  const lines = stderr.split("\n");
  const left = lines.filter((line) => !DAWN.some((pattern) => pattern.test(line)));
  // Dawn's report of a missing driver ends with an empty line.
  return (left.length < lines.length ? left.filter((line, i) => line !== "" || i === left.length - 1) : left).join(
    "\n",
  );
}

function start(program: string, args: readonly string[], env: Record<string, string> = {}): Ended {
  const options = { cwd: folder, env: { ...process.env, ...env }, encoding: "utf8", timeout: 120_000 } as const;
  const { status, stdout, stderr } = spawnSync(program, args, options);
  return { status, stdout, stderr: ours(stderr) };
}

const faultline = (...args: string[]) => start(process.execPath, [PROGRAM, ...args]);

/** Could not do it: exit status 2, one line that begins with the program's name, no stack. */
function expectOneLine({ status, stderr, stdout }: Ended, message: RegExp): void {
  expect(stderr).toMatch(/^faultline: [^\n]+\n$/);
  expect(stderr).not.toMatch(/internal error|\bat .*:\d+:\d+/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not be there
  expect(stderr.trimEnd()).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
  expect(stderr).toMatch(message);
  expect(stdout).toBe("");
  expect(status).toBe(2);
}

/** Runs it and holds it to leave the folder as it was. */
function refused(message: RegExp, ...args: string[]): void {
  const before = readdirSync(folder, { recursive: true }).sort();
  expectOneLine(faultline(...args), message);
  expect(readdirSync(folder, { recursive: true }).sort()).toEqual(before);
}

describe("arguments", () => {
  const trace = (...args: string[]) => ["trace", "m.gguf", ...args, ...ORACLE];
  const cases: readonly [name: string, message: RegExp, args: readonly string[]][] = [
    ["no such model", /none\.gguf: no such file/, ["trace", "none.gguf", "-p", "x"]],
    ["a folder as model", /folder\.arrow: not a file/, ["generate", "folder.arrow", "-p", "x"]],
    ["a model cut short", /cut\.gguf: .* ends at byte \d+, the file at 100000/, ["trace", "cut.gguf", "-p", "x"]],
    ["a name with terminal escapes", /architecture "a/, ["trace", "escape.gguf", "-p", "x"]],
    ["a trace as model", /good\.arrow: begins "ARRO"/, ["tokens", "good.arrow", "-p", "x"]],
    ["no prompt", /no prompt; give one of/, trace()],
    ["two prompts", /2 prompts; give one of/, trace("-p", "x", "--tokens", "1")],
    ["an empty prompt", /the prompt has no tokens/, trace("-p", "")],
    ["text for a model without tokenizer", /no tokenizer; pass token ids/, ["trace", "no-tokenizer.gguf", "-p", "x"]],
    ["a chat for a model without template", /chat_template.*plain text/, trace("--chat", "x")],
    ["an id outside the vocabulary", /token id 260 .* 0 to 259/, trace("--tokens", "1,260")],
    ["ids that are none", /'1,x' is invalid/, trace("--tokens", "1,x")],
    ["a negative id", /--tokens/, trace("--tokens=-1")],
    ["a prompt longer than the context", /100000 prompt tokens .* context of 4096/, trace("-p", "a".repeat(100_000))],
    ["more steps than the context holds", /1 prompt tokens and 4096 steps/, trace("-p", "x", "-n", String(CONTEXT))],
    ["steps that are no number", /'many' is invalid/, trace("-p", "x", "-n", "many")],
    ["a layer out of range", /--layers 2: "2" is not within 0-1/, trace("-p", "x", "--layers", "2")],
    ["layers without end", /is not within 0-1/, trace("-p", "x", "--layers", "0-99999999999999")],
    ["an unknown value", /Allowed choices are stats, sketch, full/, trace("-p", "x", "--capture", "huge")],
    ["an unknown option", /--lyers' \(Did you mean --layers\?\)/, trace("-p", "x", "--lyers", "1")],
    ["an unknown command", /unknown command 'trac'/, ["trac", "m.gguf"]],
    ["taps that match nothing", /no tap matches nope\.\*/, trace("-p", "x", "--taps", "nope.*")],
    ["taps that are no pattern", /no tap matches \[/, trace("-p", "x", "--taps", "[")],
    ["no taps", /list of taps/, trace("-p", "x", "--taps", "")],
    ["half a list of taps", /list of taps/, ["inspect", "good.arrow", "--tap", "embed,"]],
    ["weight taps without kernels", /weight:\* taps/, trace("-p", "x", "--taps", "weight:*")],
    ["an output in a missing folder", /no such folder/, trace("-p", "x", "-o", "missing/x.arrow")],
    [
      "an output that is a folder",
      /folder\.arrow: cannot be written \(is a folder\)/,
      trace("-p", "x", "-o", "folder.arrow"),
    ],
    ["an output inside a file", /not a folder/, trace("-p", "x", "-o", "m.gguf/x.arrow")],
    ["an output without a name", /cannot be written/, trace("-p", "x", "-o", "")],
    ["an output that is the model", /m\.gguf: is the model itself/, trace("-p", "x", "-o", "m.gguf")],
    [
      "an output where nobody may write",
      /cannot be written \(permission denied\)/,
      trace("-p", "x", "-o", "/sys/kernel/x"),
    ],
  ];
  it.each(cases)("%s", (_name, message, args) => refused(message, ...args));

  it("a pipe without a writer as model or trace", () => {
    execFileSync("mkfifo", [at("pipe")]);
    refused(/pipe: not a file/, "tokens", "pipe", "-p", "x");
    refused(/pipe: not a file/, "inspect", "pipe");
    rmSync(at("pipe"));
  });
});

describe("no adapter", () => {
  it("says what to install, and what works without", () => {
    const none = { VK_ICD_FILENAMES: "/nonexistent", VK_DRIVER_FILES: "/nonexistent" };
    const before = readdirSync(folder).sort();
    const ended = start(process.execPath, [PROGRAM, "trace", "m.gguf", "-p", "x", "-o", "gpu.arrow"], none);
    expectOneLine(ended, /no WebGPU adapter; install .*mesa-vulkan-drivers.*--device oracle/);
    expect(readdirSync(folder).sort()).toEqual(before);
  });
});

describe("what is only unusual", () => {
  it("a path with spaces, umlauts and emoji", () => {
    mkdirSync(at("a b ü"));
    copyFileSync(at("m.gguf"), at("a b ü/mo del 😀.gguf"));
    const output = "a b ü/tr ace 😀.arrow";
    const made = faultline("trace", "a b ü/mo del 😀.gguf", "-p", "é 😀\u202e", "-o", output, ...ORACLE);
    expect(made).toMatchObject({ status: 0, stderr: "" });
    expect(faultline("inspect", output).stdout).toContain("mo del 😀.gguf");
  });

  it("ids for a model without tokenizer, and ids past a vocabulary", () => {
    for (const model of ["no-tokenizer.gguf", "padded.gguf"]) {
      const made = faultline("trace", model, "--tokens", "1,200", "-n", "2", "-o", "ids.arrow", ...ORACLE);
      expect(made).toMatchObject({ status: 0, stderr: "" });
      expect(made.stdout).toMatch(/continues with "(<\d+>){3}"/);
    }
  });

  it("a reader that has seen enough", () => {
    const command = `"$0" "$@" | head -c 1; echo "\${PIPESTATUS[0]}"`;
    const ended = start("bash", ["-c", command, process.execPath, PROGRAM, "inspect", "good.arrow", "--tap", "*"]);
    expect(ended.stderr).toBe("");
    expect(ended.stdout).toBe("g0\n");
  });
});

describe("a run that cannot go on", () => {
  const big = ["trace", "m.gguf", "-p", "hello hello", "-n", "200", "--capture", "full", ...ORACLE];

  /** The partial file can be read, and says that it is one. */
  function expectReadable(partial: string): void {
    const inspected = faultline("inspect", partial);
    expect(inspected).toMatchObject({ status: 0, stderr: "" });
    expect(inspected.stdout).toContain("(partial: the run did not finish)");
  }

  it("a file that may not grow", () => {
    const limited = ["-c", `ulimit -f 1000; exec "$0" "$@"`, process.execPath, PROGRAM, ...big, "-o", "limited.arrow"];
    expectOneLine(
      start("bash", limited),
      /limited\.arrow\.partial: writing stopped \(file too large\) with \d{3,} records/,
    );
    expect(existsSync(at("limited.arrow"))).toBe(false);
    expectReadable("limited.arrow.partial");
  });

  it("a full disk: after some steps, amid the first, and before the start", ({ skip }) => {
    mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", full]).status === 0;
    skip(!mounted, "mounting a small file system is not permitted here");
    expectOneLine(faultline(...big, "-o", "full/x.arrow"), /full\/x\.arrow\.partial: writing stopped \(disk full\)/);
    expect(readdirSync(full)).toEqual(["x.arrow.partial"]);
    expectReadable("full/x.arrow.partial");
    rmSync(join(full, "x.arrow.partial"));
    for (const free of [8192, 0]) {
      writeFileSync(join(full, "ballast"), new Uint8Array((1 << 20) - free));
      expectOneLine(faultline(...big, "-o", "full/y.arrow"), /\(disk full\) with 0 records; .*nothing was kept/);
      expect(readdirSync(full)).toEqual(["ballast"]);
    }
  });

  it("Ctrl-C", async () => {
    const args = [
      "trace",
      "m.gguf",
      "-p",
      "hello",
      "-n",
      "4000",
      "--capture",
      "full",
      "-o",
      "stopped.arrow",
      ...ORACLE,
    ];
    const child = spawn(process.execPath, [PROGRAM, ...args], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const ended = new Promise<number | null>((resolve) => {
      child.on("close", resolve);
    });
    const partial = at("stopped.arrow.partial");
    const written = () => statSync(partial, { throwIfNoEntry: false })?.size ?? 0;
    while (written() < 100_000 && child.exitCode === null) await sleep(20);
    child.kill("SIGINT");
    const status = await ended;
    expect(status).toBe(130);
    expectOneLine(
      { status: 2, stdout, stderr: ours(stderr) },
      /interrupted after \d+ of 4001 steps; stopped\.arrow\.partial holds \d+ records and can be read/,
    );
    expect(existsSync(at("stopped.arrow"))).toBe(false);
    expectReadable("stopped.arrow.partial");
  });
});

describe("inspect", () => {
  const cases: readonly [name: string, message: RegExp, args: readonly string[]][] = [
    ["no file", /none\.arrow: no such file/, ["none.arrow"]],
    ["a folder", /folder\.arrow: not a file/, ["folder.arrow"]],
    ["a model", /m\.gguf: not a trace/, ["m.gguf"]],
    ["an Arrow file that is no trace", /arrow: an Arrow file, but not a trace/, ["arrow"]],
    ["another format", /newer\.arrow: format version 2, this program reads 1/, ["newer.arrow"]],
    ["a step that is not there", /no step 3; it has steps 0 to 2/, ["good.arrow", "--step", "3"]],
    ["a step below 0", /'-1' is invalid/, ["good.arrow", "--step", "-1"]],
    ["a tap that is not there", /no tap of step 0 matches nope/, ["good.arrow", "--tap", "nope"]],
  ];
  it.each(cases)("%s", (_name, message, args) => refused(message, "inspect", ...args));
});

describe("a damaged trace", () => {
  /** What Trace.open and reading every record make of these bytes: the number of records, or a TraceError. */
  async function read(bytes: Uint8Array): Promise<number | TraceError> {
    writeFileSync(at("damaged.arrow"), bytes);
    try {
      const trace = await Trace.open(at("damaged.arrow"));
      try {
        return trace.records.length;
      } finally {
        await trace.close();
      }
    } catch (error) {
      if (error instanceof TraceError && !error.message.includes("\n")) return error;
      throw new Error(`not a TraceError of one line: ${String(error)}`, { cause: error });
    }
  }

  /**
   * Where the bodies of the batches lie. Their descriptions are left alone: apache-arrow 21 believes the length of any list in
   * those, and may run out of memory over one damaged there.
   */
  function bodies(bytes: Buffer): number[] {
    const places: number[] = [];
    for (let start = 8; bytes.readInt32LE(start + 4) > 0; ) {
      const body = start + 8 + bytes.readInt32LE(start + 4);
      const { bodyLength } = Message.decode(bytes.subarray(start + 8, body));
      for (let place = body; place < body + bodyLength; place++) places.push(place);
      start = body + bodyLength;
    }
    return places;
  }

  it("cut at many bytes is a partial trace with fewer records, or a TraceError", async () => {
    const bytes = readFileSync(at("good.arrow"));
    const whole = await read(bytes);
    const lengths = [
      ...Array(200).keys(),
      ...Array.from({ length: 300 }, (_, i) => Math.floor((bytes.length * i) / 300)),
    ];
    let partial = 0;
    for (const length of lengths) {
      const records = await read(bytes.subarray(0, length));
      if (records instanceof TraceError) continue;
      partial++;
      expect(records).toBeLessThanOrEqual(Number(whole));
    }
    expect(partial).toBeGreaterThan(0);
  });

  it("with flipped bytes in its batches is a trace or a TraceError, and takes no memory for what it claims", async () => {
    const bytes = readFileSync(at("good.arrow"));
    await read(bytes);
    const before = process.resourceUsage().maxRSS;
    const change = fc.record({
      at: fc.constantFrom(...bodies(bytes)),
      value: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const copy = Buffer.from(bytes);
        for (const { at, value } of changes) copy[at] = value;
        await read(copy);
      }),
      { numRuns: 300, seed: 3 },
    );
    expect((process.resourceUsage().maxRSS - before) / 1024).toBeLessThan(200);
  });

  it("of a terabyte of nothing is a TraceError", async () => {
    writeFileSync(at("sparse.arrow"), "ARROW1\0\0");
    truncateSync(at("sparse.arrow"), 2 ** 40);
    const before = process.resourceUsage().maxRSS;
    await expect(Trace.open(at("sparse.arrow"))).rejects.toBeInstanceOf(TraceError);
    expect((process.resourceUsage().maxRSS - before) / 1024).toBeLessThan(200);
    rmSync(at("sparse.arrow"));
  });
});
