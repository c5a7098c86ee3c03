/** The records that row_statistics.wgsl writes, one per row, and their meaning on the host. The layout stands in the kernel. */
import type { CaptureLevel } from "../trace/capture.ts";
import { joinHash, SKETCH_SIZE } from "../trace/sketch.ts";
import { type Statistics, StatisticsFold } from "../trace/statistics.ts";

/** Words of a record without and with a sketch. */
export const RECORD_WORDS = { stats: 16, sketch: 32 } as const;
const SKETCH_AT = 16;

/** Words of a record at a capture level. */
export function recordWords(level: CaptureLevel): number {
  return level === "stats" ? RECORD_WORDS.stats : RECORD_WORDS.sketch;
}

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

function floatFromBits(word: number): number {
  bits[0] = word;
  return float[0] as number;
}

/** The float of an order-preserving key. */
function floatFromKey(key: number): number {
  return floatFromBits(key >= 0x80000000 ? key & 0x7fffffff : ~key);
}

export interface TensorSummary {
  readonly statistics: Statistics;
  readonly rowRms: Float32Array;
  readonly sketch: Float32Array;
  readonly hash: bigint;
}

/** Statistics, sketch and hash of one tensor from its rows' records of `words` words each; sums are folded in order, in f64. */
export function tensorSummary(records: Uint32Array, words: number, columns: number): TensorSummary {
  const floats = new Float32Array(records.buffer, records.byteOffset, records.length);
  const rows = records.length / words;
  const fold = new StatisticsFold(rows);
  const sketch = new Float32Array(words === RECORD_WORDS.sketch ? rows * SKETCH_SIZE : 0);
  let hashLow = 0;
  let hashHigh = 0;
  for (let row = 0; row < rows; row++) {
    const at = row * words;
    const word = (i: number) => records[at + i] as number;
    const scale = 2 ** (word(11) | 0);
    fold.add({
      count: columns,
      nanCount: word(2),
      infCount: word(3),
      zeroCount: word(4),
      min: floatFromKey(word(5)),
      max: floatFromKey(word(6)),
      maxAbs: floatFromBits(word(7)),
      maxAbsColumn: word(8),
      sum: (floats[at] as number) * scale,
      sumOfSquares: (floats[at + 1] as number) * scale * scale,
    });
    hashLow = (hashLow + word(9)) | 0;
    hashHigh = (hashHigh + word(10)) | 0;
    if (sketch.length > 0) {
      for (let j = 0; j < SKETCH_SIZE; j++) {
        sketch[row * SKETCH_SIZE + j] = (floats[at + SKETCH_AT + j] as number) * scale;
      }
    }
  }
  return { statistics: fold.statistics(), rowRms: fold.rowRms, sketch, hash: joinHash(hashLow, hashHigh) };
}
