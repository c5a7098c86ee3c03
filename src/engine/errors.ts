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
/** The driver gave up: a reset, a watchdog, a crash. */
export class GpuLostError extends DeviceError {
  override name = "GpuLostError";
}
