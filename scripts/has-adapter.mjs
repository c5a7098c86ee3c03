// Exits with 0 if WebGPU finds an adapter here.
import { create } from "webgpu";

globalThis.gpu = create([]); // must stay referenced for the life of the process
process.exit((await globalThis.gpu.requestAdapter()) === null ? 1 : 0);
