/** A model run by this program's own engine, every op of every step recorded. */
import { z } from "zod";
import { openModel } from "../model/model.ts";
import { packageVersion } from "../model/package-root.ts";
import { DEVICES, type EngineOptions, type PromptOptions } from "../run/options.ts";
import type { Watch } from "../run/progress.ts";
import { CAPTURE_LEVELS, type CaptureLevel } from "../trace/capture.ts";
import { InputError } from "../trace/errors.ts";
import type { TraceFacts } from "../trace/trace-facts.ts";
import { callback, checkOptions } from "./checked.ts";

/** One of `prompt`, `chat`, `tokens`; all else as `faultline trace` has it. */
export interface TraceModelOptions extends PromptOptions, Partial<Omit<EngineOptions, "fault">> {
  /** Path of a GGUF file. */
  readonly model: string;
  /** Path of the trace to write, replaced where it exists. */
  readonly output: string;
  /** Decode steps after the prompt: 0 unless told, or as many as `follow` has tokens. */
  readonly steps?: number;
  /** stats: statistics and hash of each tensor; sketch (unless told): and 16 numbers a row; full: and all values. */
  readonly capture?: CaptureLevel;
  /** Globs of taps to record, e.g. `["blk.0.*", "logits"]`; all but weights unless told. */
  readonly taps?: readonly string[];
  /** Bugs to plant, as `faultline faults` lists them: id[@tap][:value]. */
  readonly faults?: readonly string[];
  /** Tokens of the decode steps instead of the likeliest: what another engine chose. */
  readonly follow?: readonly number[];
  /** Parts are "weights" (MiB to the GPU) and "steps". */
  readonly progress?: (done: number, total: number, part: string) => void;
  /**
   * Aborted: the step under way is written, then the promise is rejected with InterruptedError, and what was written can be read; in the
   * last step the trace is complete. Aborted before: rejected with the signal's reason.
   */
  readonly signal?: AbortSignal;
}

export interface TracedModel extends TraceFacts {
  /** The generated tokens, decoded. */
  readonly text: string;
}

const ids = z.array(z.number().int().min(0)).readonly();
const texts = z.array(z.string()).readonly();

const KNOWN: { readonly [K in keyof TraceModelOptions]-?: z.ZodType } = {
  ...{ model: z.string(), output: z.string(), prompt: z.string().optional(), chat: z.string().optional() },
  ...{ system: z.string().optional(), tokens: ids.optional(), steps: z.number().int().min(0).optional() },
  ...{ capture: z.enum(CAPTURE_LEVELS).optional(), taps: texts.optional(), device: z.enum(DEVICES).optional() },
  ...{ dtype: z.enum(["f32", "f16"]).optional(), layers: z.string().optional(), kvCache: z.boolean().optional() },
  ...{ faults: texts.optional(), follow: ids.optional(), progress: callback.optional() },
  signal: z.instanceof(AbortSignal).optional(),
};

/**
 * Runs a model and writes its trace. Loads the GPU library; the device "oracle" needs no adapter. Throws InputError where something cannot
 * work, with its remedy in the words of the command line (`-n` is `steps`); ModelError for a damaged file; DeviceError for the GPU's.
 */
export async function traceModel(options: TraceModelOptions): Promise<TracedModel> {
  checkOptions("traceModel", KNOWN, options);
  const { output, capture = "sketch", taps, follow, progress, signal, faults: texts = [] } = options;
  const { device = "auto", dtype = "f32", layers, kvCache = true } = options;
  const steps = options.steps ?? follow?.length ?? 0;
  checkAsked(options, steps);
  signal?.throwIfAborted();
  const [run, { plantedIn }, { readPrompt }] = await Promise.all([
    import("../run/trace-model.ts"),
    import("../run/planted.ts"),
    import("../run/prompt.ts"),
  ]);
  const engine: EngineOptions = { device, dtype, kvCache, fault: texts, ...(layers === undefined ? {} : { layers }) };
  const model = await openModel(options.model, layers === undefined ? {} : { layers });
  try {
    const given = readPrompt(model, options, steps);
    const { faults, prompt } = plantedIn(model, engine, given, steps);
    const facts = await run.traceModel({
      ...{
        model,
        tokenizer: given.tokenizer,
        prompt,
        steps,
        output,
        capture,
        engine,
        faults,
        version: packageVersion(),
      },
      ...(taps === undefined ? {} : { taps }),
      ...(follow === undefined ? {} : { follow }),
      ...(progress === undefined ? {} : { watch: watched(progress) }),
      ...(signal === undefined ? {} : { signal }),
    });
    return { ...facts, text: given.tokenizer.decode([...facts.generated]) };
  } finally {
    model.file.close();
  }
}

/** In the names of these options; what is left is said in the command line's. */
function checkAsked({ prompt, chat, tokens, follow }: TraceModelOptions, steps: number): void {
  const given = [prompt, chat, tokens].filter((each) => each !== undefined).length;
  if (given !== 1) throw new InputError(`traceModel: ${given} prompts; give one of prompt, chat, tokens`);
  if (follow !== undefined && follow.length !== steps) {
    throw new InputError(
      `traceModel: follow holds ${follow.length} tokens for ${steps} steps; give one a step, or leave steps out`,
    );
  }
}

const watched =
  (progress: NonNullable<TraceModelOptions["progress"]>): Watch =>
  (_, unit) => ({
    update: (done, total) => progress(done, total, unit === "steps" ? "steps" : "weights"),
    stop: () => {},
  });
