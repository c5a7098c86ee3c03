/**
 * Reads the facts of a trace without its values. They are the last buffer of each batch (docs/trace-format.md, order of columns),
 * so a body is read up to them and the rest stays 0: an index costs what the facts are, not what the file is. Where the values begin
 * is remembered, so that one record's can be read by themselves.
 */
import { readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { DataType, Message, Precision, type Schema } from "apache-arrow";

/** Least size of a body that is worth cutting. */
const LEAST_BYTES = 1 << 12;

export interface Heads {
  /** For Arrow's reader: a handle whose reads leave out values. Closing it leaves the file open. */
  readonly handle: FileHandle;
  /** Where in the file the values of the batch read last begin; null where they were read with it. */
  readonly valuesAt: number | null;
  /** From now on values are left out: once the schema says that they are the last column, of plain f32. */
  leaveOutValues(): void;
}

/** Heads of the batches of an open file. */
export function headsOf(file: FileHandle): Heads {
  // Arrow reads a batch as length, metadata, body; the metadata say where the body's last buffer begins.
  let [body, head] = [0, 0];
  let valuesAt: number | null = null;
  let leavesOut = false;
  // From the page cache a read takes less than handing it to another thread would.
  const read = async (buffer: Uint8Array, offset: number, length: number, position: number) => {
    const isBody = body > 0 && length === body && offset === 0;
    if (!isBody) {
      const bytesRead = readSync(file.fd, buffer, offset, length, position);
      valuesAt = null;
      [body, head] = leavesOut ? lastBuffer(buffer.subarray(offset, offset + bytesRead)) : [0, 0];
      return { bytesRead, buffer };
    }
    const wanted = length > LEAST_BYTES ? head : length;
    const bytesRead = readSync(file.fd, buffer, offset, wanted, position);
    valuesAt = position + head;
    [body, head] = [0, 0];
    return { bytesRead: bytesRead === wanted ? length : bytesRead, buffer };
  };
  const handle = Object.create(file, { close: { value: async () => undefined }, read: { value: read } }) as FileHandle;
  return {
    handle,
    get valuesAt() {
      return valuesAt;
    },
    leaveOutValues() {
      leavesOut = true;
    },
  };
}

/** True if values stand last in a body, as plain f32: what this program writes. Other writers may order columns otherwise. */
export function endsWithValues({ fields }: Schema): boolean {
  const last = fields.at(-1);
  const item = DataType.isList(last?.type) ? last.type.children[0]?.type : undefined;
  return last?.name === "values" && DataType.isFloat(item) && item.precision === Precision.SINGLE;
}

/** Length of a batch's body and where its last buffer begins; [0, 0] for bytes that are no batch's metadata, or of a packed batch. */
function lastBuffer(bytes: Uint8Array): [body: number, head: number] {
  if (bytes.length <= 8) return [0, 0];
  try {
    const message = Message.decode(bytes);
    if (!message.isRecordBatch()) return [0, 0];
    const { buffers, compression } = message.header();
    const last = buffers.at(-1);
    return last === undefined || compression !== null ? [0, 0] : [message.bodyLength, last.offset];
  } catch {
    return [0, 0];
  }
}
