/** What the figures were taken on. */
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { adapterFacts, type DeviceKind, requestAdapter } from "../../src/engine/device.ts";

/** NVIDIA's kernel module tells its version here; other drivers tell theirs in the adapter's description. */
const NVIDIA_VERSION = "/proc/driver/nvidia/version";

export async function machineLines(device: DeviceKind): Promise<string[]> {
  const { description, vendor, architecture, software } = adapterFacts(await requestAdapter(device));
  const nvidia = existsSync(NVIDIA_VERSION) ? readFileSync(NVIDIA_VERSION, "utf8").split("\n")[0] : undefined;
  return [
    `- date: ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`,
    `- adapter: ${description} (${vendor}, ${architecture}${software ? ", software" : ""})`,
    ...(nvidia === undefined ? [] : [`- kernel driver: ${nvidia}`]),
    `- CPU: ${cpus()[0]?.model.trim() ?? "unknown"}, ${availableParallelism()} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    `- load average at the start: ${loadavg()[0]?.toFixed(2)}; Node ${process.version}`,
  ];
}
