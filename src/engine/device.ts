/**
 * Brings up WebGPU (Dawn) and watches it. Three facts of the binding rule this file: the instance must stay referenced for the
 * life of the process; a pending promise makes the binding spin on the JS thread, which a software adapter needs for itself;
 * limits must be asked for.
 */
import { create, globals } from "webgpu";
import {
  type DeviceError,
  GpuLostError,
  GpuOutOfMemoryError,
  GpuTimeoutError,
  GpuValidationError,
  NoAdapterError,
} from "./errors.ts";
import { hasVulkanDriver } from "./vulkan-drivers.ts";

export const DEVICE_KINDS = ["auto", "hardware", "software"] as const;
export type DeviceKind = (typeof DEVICE_KINDS)[number];

/** Dawn's instance. Collected by the garbage collector it would take the process with it. */
const holder: { gpu?: GPU } = {};

function instance(): GPU {
  if (holder.gpu === undefined) {
    Object.assign(globalThis, globals);
    holder.gpu = create([]);
  }
  return holder.gpu;
}

const INSTALL =
  "install a Vulkan driver (Debian 12 without a GPU: npm run setup, which takes mesa-vulkan-drivers 25 from bookworm-backports), or use --device oracle";

/** What an adapter says of itself. */
export interface AdapterFacts {
  readonly description: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly software: boolean;
  readonly features: readonly string[];
}

/** Asks for an adapter. Throws NoAdapterError where there is none of that kind. */
export async function requestAdapter(kind: DeviceKind): Promise<GPUAdapter> {
  const options =
    kind === "software" ? { forceFallbackAdapter: true } : { powerPreference: "high-performance" as const };
  const adapter = hasVulkanDriver() ? await instance().requestAdapter(options) : null;
  if (adapter === null)
    throw new NoAdapterError(`no WebGPU adapter${kind === "auto" ? "" : ` of kind ${kind}`}; ${INSTALL}`);
  if (kind === "hardware" && adapterFacts(adapter).software) {
    throw new NoAdapterError(
      `no hardware WebGPU adapter, only ${adapterFacts(adapter).description}; use --device auto or software`,
    );
  }
  return adapter;
}

export function adapterFacts(adapter: GPUAdapter): AdapterFacts {
  const { description, vendor, architecture } = adapter.info;
  return {
    description,
    vendor,
    architecture,
    software: adapter.info.isFallbackAdapter || architecture === "software",
    features: [...adapter.features].sort(),
  };
}

const SUBGROUPS: GPUFeatureName = "subgroups";
/** Threads that kernels/linear_subgroup.wgsl shares loads among. */
const SHARING_THREADS = 8;

function sharesLoads(adapter: GPUAdapter): boolean {
  const { features, info } = adapter;
  return adapterFacts(adapter).software && features.has(SUBGROUPS) && (info.subgroupMinSize ?? 0) >= SHARING_THREADS;
}

/** One device, its limits, and the first error that it reported. */
export class Gpu {
  readonly device: GPUDevice;
  readonly adapter: AdapterFacts;
  readonly limits: GPUSupportedLimits;
  /** Threads of a workgroup that suit the adapter: a software adapter runs 8 at once and pays for barriers. */
  readonly width: number;
  /**
   * True if kernels that share loads within a subgroup suit the adapter: a software adapter loads a value for each thread by
   * itself, whether or not they all want the same. Only what is loaded is shared; no sum crosses threads.
   */
  readonly subgroups: boolean;
  #failure: DeviceError | undefined;
  #closed = false;
  readonly #limit: number;
  readonly #compiled = new WeakSet<GPUComputePipeline>();
  #none: GPUBuffer | undefined;

  private constructor(device: GPUDevice, adapter: AdapterFacts, limit: number) {
    this.#limit = limit;
    this.device = device;
    this.adapter = adapter;
    this.limits = device.limits;
    this.width = adapter.software ? 8 : 64;
    this.subgroups = device.features.has(SUBGROUPS);
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault(); // Dawn would print it
      this.#failure ??= namedError(event.error);
    });
    void device.lost.then((info) => {
      if (!this.#closed) {
        this.#failure ??= new GpuLostError(
          `the GPU device was lost (${firstLine(info.message) || info.reason}); run again, or use --device software or oracle`,
        );
      }
    });
  }

  /** `limit`: seconds that a submission may take. Throws NoAdapterError. */
  static async open(kind: DeviceKind = "auto", limit = Number.POSITIVE_INFINITY): Promise<Gpu> {
    const adapter = await requestAdapter(kind);
    const wanted = [
      "maxBufferSize",
      "maxStorageBufferBindingSize",
      "maxComputeWorkgroupStorageSize",
      "maxComputeInvocationsPerWorkgroup",
    ] as const;
    const requiredLimits = Object.fromEntries(wanted.map((limit) => [limit, adapter.limits[limit]]));
    const requiredFeatures = sharesLoads(adapter) ? [SUBGROUPS] : [];
    return new Gpu(await adapter.requestDevice({ requiredLimits, requiredFeatures }), adapterFacts(adapter), limit);
  }

  /** Throws the first error that the device has reported, if any. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /**
   * Runs `body`; validation, memory and internal errors inside it are thrown, named after `what`. Scopes belong to the device:
   * do not run two at a time, nor one inside the other.
   */
  async guarded<T>(what: string, body: () => T | Promise<T>): Promise<T> {
    const scopes = ["validation", "out-of-memory", "internal"] as const;
    for (const scope of scopes) this.device.pushErrorScope(scope);
    let result: T | undefined;
    let thrown: unknown;
    try {
      result = await body();
    } catch (error) {
      thrown = error;
    }
    // A device that is still at work would keep the scopes, too.
    if (thrown instanceof GpuTimeoutError) throw thrown;
    let found: GPUError | null = null;
    for (const _ of scopes) found = (await this.device.popErrorScope()) ?? found;
    // An error with a name of its own says more than the scope around it.
    if (thrown !== undefined) throw thrown;
    if (found !== null) throw namedError(found, what);
    this.check();
    return result as T;
  }

  /**
   * Waits for a promise of the device. While one is pending the binding polls without rest; on a software adapter that takes a
   * core from the adapter itself, so the thread sleeps between polls. Throws GpuTimeoutError.
   */
  async settled<T>(promise: Promise<T>): Promise<T> {
    return this.#inTime(this.adapter.software ? this.#polled(promise) : promise);
  }

  /**
   * Compiles what is to be run within the limit, for as long as that takes. A software adapter compiles a pipeline when it is first
   * run; here it runs over no workgroups, whose counts are read from a buffer, for Dawn prints a warning at zeros that it sees.
   */
  async compiled(dispatches: Iterable<{ readonly pipeline: GPUComputePipeline; readonly group: GPUBindGroup }>) {
    if (!this.adapter.software || !Number.isFinite(this.#limit)) return;
    const fresh = [...dispatches].filter(({ pipeline }) => !this.#compiled.has(pipeline));
    if (fresh.length === 0) return;
    this.#none ??= this.device.createBuffer({ label: "no workgroups", size: 12, usage: GPUBufferUsage.INDIRECT });
    const encoder = this.device.createCommandEncoder();
    for (const { pipeline, group } of fresh) {
      if (this.#compiled.has(pipeline)) continue;
      this.#compiled.add(pipeline);
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroupsIndirect(this.#none, 0);
      pass.end();
    }
    this.device.queue.submit([encoder.finish()]);
    await this.#polled(this.device.queue.onSubmittedWorkDone());
  }

  async #inTime<T>(promise: Promise<T>): Promise<T> {
    if (!Number.isFinite(this.#limit)) return promise;
    let timer: NodeJS.Timeout | undefined;
    const half = () =>
      new Promise<void>((resolve) => {
        timer = setTimeout(resolve, 500 * this.#limit);
      });
    // In two halves: a process that did not run in the first one finds out in the second that the GPU is done.
    const tooLong = half()
      .then(half)
      .then(() => {
        this.#failure ??= new GpuTimeoutError(this.#limit, "the GPU's work");
        throw this.#failure;
      });
    try {
      return await Promise.race([promise, tooLong]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #polled<T>(promise: Promise<T>): Promise<T> {
    let pending = true;
    const watched = promise.finally(() => {
      pending = false;
    });
    const cell = new Int32Array(new SharedArrayBuffer(4));
    let naps = 0;
    const nap = () => {
      if (!pending) return;
      // Short steps answer at once, long ones (prefill) leave the cores alone.
      Atomics.wait(cell, 0, 0, naps++ < 4 ? 0.25 : 1);
      setImmediate(nap);
    };
    setImmediate(nap);
    return watched;
  }

  /** Waits until everything submitted is done, then throws if the device reported an error. */
  async finished(): Promise<void> {
    await this.settled(this.device.queue.onSubmittedWorkDone());
    this.check();
  }

  /** Maps the first `bytes` of a buffer for reading, when all submitted work that writes it is done. Unmap it after use. */
  async mapped(buffer: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    try {
      await this.settled(buffer.mapAsync(GPUMapMode.READ, 0, bytes));
    } catch (error) {
      this.check();
      throw new GpuLostError(
        `reading back failed (${firstLine((error as Error).message)}); run again, or use --device oracle`,
      );
    }
    this.check();
    return buffer.getMappedRange(0, bytes);
  }

  close(): void {
    this.#closed = true;
    // Waits for what was submitted, which never ends after this error.
    if (this.#failure instanceof GpuTimeoutError) return;
    this.device.destroy();
  }
}

function firstLine(message: string): string {
  return message.split("\n")[0]?.trim() ?? "";
}

/** The named error of a WebGPU error. */
export function namedError(error: GPUError, what = "the GPU"): DeviceError {
  const message = firstLine(error.message);
  if (error.constructor.name === "GPUOutOfMemoryError") {
    return new GpuOutOfMemoryError(
      `${what}: out of GPU memory (${message}); use a shorter prompt, a smaller model or --device oracle`,
    );
  }
  return new GpuValidationError(
    `${what}: refused by the GPU driver (${message}); please report this with the output of faultline doctor`,
  );
}
