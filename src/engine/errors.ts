/** What can go wrong on the device, by name: each ends the run, none becomes a silent wrong result. */
import { InputError } from "../trace/errors.ts";

export class DeviceError extends InputError {
  override name = "DeviceError";
}
/** No adapter of the kind asked for. */
export class NoAdapterError extends DeviceError {
  override name = "NoAdapterError";
}
/** Dawn refused a call: a fault of this program, or a limit of the adapter. */
export class GpuValidationError extends DeviceError {
  override name = "GpuValidationError";
}
export class GpuOutOfMemoryError extends DeviceError {
  override name = "GpuOutOfMemoryError";
}
/** A submission did not end in time. The GPU still runs it: nothing more can be asked of it, and the process must be ended. */
export class GpuTimeoutError extends DeviceError {
  override name = "GpuTimeoutError";
  readonly seconds: number;

  /** `what` was running. `remedy`: beside a longer limit. */
  constructor(seconds: number, what: string, remedy = "look for a loop that never ends") {
    super(`${what}: did not end within ${seconds} s; ${remedy}, or let it run longer with --limit`);
    this.seconds = seconds;
  }
}
/** The driver gave up: a reset, a watchdog, a crash. */
export class GpuLostError extends DeviceError {
  override name = "GpuLostError";
}
