/** `faultline replay`: the op of a repro bundle again, without the model. */
import type { Command } from "commander";
import { readElements } from "../../references/import/elements.ts";
import { readNpyHeader } from "../../references/import/npy.ts";
import { type Bundle, compactTable, openBundle } from "../compare/bundle-read.ts";
import { asRecorded, type Computed, replay } from "../compare/replay.ts";
import { Gpu } from "../engine/device.ts";
import { parseFaults } from "../engine/faults/parse.ts";
import { runSingleOp } from "../engine/single-op.ts";
import { arithmeticOf } from "../oracle/arithmetic.ts";
import { isWrong, type Replayed, replayJson, replayText } from "../report/replay.ts";
import { OWN_SETTINGS } from "../run/engine.ts";
import type { DeviceOption } from "../run/options.ts";
import { InputError } from "../trace/errors.ts";
import { DIVERGENT } from "./compare.ts";
import { addDeviceOption, addFaultOption, addOutputOptions, type OutputOptions } from "./options.ts";
import { print } from "./output.ts";

interface ReplayOptions extends OutputOptions {
  readonly actual?: string;
  readonly run?: boolean;
  readonly device: Exclude<DeviceOption, "oracle">;
  readonly fault?: readonly string[];
}

export function addReplay(program: Command, version: string): void {
  const command = program
    .command("replay")
    .description("compute the op of a repro bundle again, without the model, and judge its output")
    .argument("<folder>", "bundle that 'faultline audit --bundle' wrote")
    .option(
      "--actual <file>",
      "judge this output instead of the stored one: .npy of f4, f2, f8 or bf16 in u2, what your kernel gives",
    )
    .option("--run", "run the op on this program's own engine and judge that");
  addOutputOptions(addFaultOption(addDeviceOption(command)))
    .addHelpText(
      "after",
      "\nExit status: 0 right, 1 wrong, 2 could not judge it.\n\nExample:\n  faultline replay bundle --actual mended.npy",
    )
    .action(async (folder: string, options: ReplayOptions) => {
      checkOptions(options);
      const bundle = openBundle(folder);
      const { computed, ...source } = await outputOf(bundle, options, version);
      const replayed: Replayed = { bundle, ...source, own: replay(bundle, computed) };
      print(
        options,
        () => replayJson(replayed),
        () => replayText(replayed),
      );
      if (isWrong(replayed)) process.exitCode = DIVERGENT;
    });
}

function checkOptions({ actual, run, fault }: ReplayOptions): void {
  if (run && actual !== undefined) throw new InputError("--run and --actual: two outputs to judge; give one of them");
  if (fault !== undefined && !run) throw new InputError(`--fault ${fault[0]}: is planted in a run; add --run`);
}

async function outputOf(
  bundle: Bundle,
  options: ReplayOptions,
  version: string,
): Promise<Pick<Replayed, "output" | "from"> & { computed: Computed }> {
  if (options.run) return { output: "run", ...(await ranHere(bundle, options, version)) };
  if (options.actual === undefined) return { output: "stored", from: bundle.folder, computed: asRecorded(bundle) };
  const values = givenOutput(options.actual, bundle);
  return { output: "given", from: options.actual, computed: asRecorded(bundle, values) };
}

/** An output of the user's. Throws InputError where it has another shape. */
function givenOutput(path: string, { shape }: Bundle): Float32Array {
  const stored = readNpyHeader(path, "give the .npy file that your kernel wrote");
  if (stored.shape.join() !== shape.join()) {
    throw new InputError(
      `${path}: shape [${stored.shape.join(", ")}], the op gives [${shape.join(", ")}]; save the output in that shape`,
    );
  }
  return readElements(stored);
}

async function ranHere(bundle: Bundle, options: ReplayOptions, version: string) {
  const { op, inputs, facts } = bundle;
  const dtype = facts.dtype === "f16" ? "f16" : "f32";
  const [fault, second] = parseFaults(options.fault ?? [], bundle.model, { dtype, kvCache: true });
  if (second !== undefined) throw new InputError(`${second.text}: a bundle is one op; plant one fault`);
  if (fault?.tap === null) throw new InputError(`${fault.text}: changes the tokens of a run; a bundle has its own`);
  const gpu = await Gpu.open(options.device);
  try {
    const values = await runSingleOp(gpu, {
      ...{ op, dtype, posStart: facts.posStart, ...compactTable(bundle) },
      inputs: inputs.map(({ data }) => Float32Array.from(data)),
      ...(fault === undefined ? {} : { fault }),
    });
    const producer = { name: "faultline", version, device: gpu.adapter.description, dtype, settings: OWN_SETTINGS };
    return {
      from: [gpu.adapter.description, ...(fault === undefined ? [] : [`with ${fault.text}`])].join(", "),
      computed: { values, dtype, how: arithmeticOf(dtype, producer) },
    };
  } finally {
    gpu.close();
  }
}
