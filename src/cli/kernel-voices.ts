/** ONNX Runtime's CPU kernels beside this program's: a second, independent voice for each case of `kernels`. */
import { onnxRuntimeVersion } from "../../references/onnx/runner.ts";
import { OnnxOps } from "../../references/onnx/single.ts";
import type { Answer } from "../compare/kernels/answer.ts";
import type { KernelCase } from "../compare/kernels/cases.ts";
import { type Voice, witnessOf } from "../compare/kernels/witness.ts";
import { InputError } from "../trace/errors.ts";

export class KernelVoices {
  /** Of ONNX Runtime; null where it is not asked. */
  readonly version: string | null;
  /** By the case's id. */
  readonly voices = new Map<string, Voice>();
  readonly #ops: OnnxOps | null;
  readonly #absent: string;

  private constructor(ops: OnnxOps | null, version: string | null, absent: string) {
    this.#ops = ops;
    this.version = version;
    this.#absent = absent;
  }

  /** `wanted`: false with --no-onnx. Where the library does not load, every case says so: the oracle judges without it. */
  static async open(wanted: boolean): Promise<KernelVoices> {
    if (!wanted) return new KernelVoices(null, null, "--no-onnx");
    try {
      return new KernelVoices(await OnnxOps.open(), await onnxRuntimeVersion(), "");
    } catch (error) {
      if (error instanceof InputError) return new KernelVoices(null, null, error.message);
      throw error;
    }
  }

  /** Asks about a case whose kernel gave `values`; `answer` is the oracle's, null where the case is no op. */
  async ask(of: KernelCase, answer: Answer | null, values: Float32Array): Promise<void> {
    this.voices.set(of.id, await this.#voice(of, answer, values));
  }

  async #voice(of: KernelCase, answer: Answer | null, values: Float32Array): Promise<Voice> {
    if (this.#ops === null) return { absent: this.#absent };
    if ("chore" in of || answer === null)
      return { absent: `${of.kind} is no operator of ONNX; it is held to its definition` };
    return { witness: witnessOf(answer, of.dtype, values, await this.#ops.run(of)) };
  }

  async close(): Promise<void> {
    await this.#ops?.close();
  }
}
