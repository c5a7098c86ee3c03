/** Every fault there is, by id. */
import { ACTIVATION } from "./activation.ts";
import { ATTENTION } from "./attention.ts";
import { CACHE } from "./cache.ts";
import { EMBED } from "./embed.ts";
import type { FaultKind } from "./fault.ts";
import { HEAD_LINEAR, LINEAR } from "./linear.ts";
import { MEMORY } from "./memory.ts";
import { HEAD_NORM, NORM } from "./norm.ts";
import { ACCUMULATION, PRECISION } from "./precision.ts";
import { QUANT } from "./quant.ts";
import { RESIDUAL } from "./residual.ts";
import { ROPE } from "./rope.ts";
import { TOKENS } from "./tokens.ts";

export const FAULTS: readonly FaultKind[] = [
  ...[EMBED, NORM, LINEAR, ACCUMULATION, QUANT, ROPE, ATTENTION, CACHE, ACTIVATION, RESIDUAL],
  ...[HEAD_NORM, HEAD_LINEAR, MEMORY, PRECISION, TOKENS],
].flat();
