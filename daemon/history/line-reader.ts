// A file line by line without holding it whole, and without keeping the event loop for longer than a block's parse.
import type { FileHandle } from 'node:fs/promises';
import { StringDecoder } from 'node:string_decoder';

const BLOCK_BYTES = 256 * 1024;

/**
 * Calls `onLine` for each complete line among the first `bytes` of the file; what stands behind the last newline is torn
 * and left out. Closes the file, also when it throws.
 */
export async function forEachLine(
  file: FileHandle,
  bytes: number,
  onLine: (line: string) => void | Promise<void>,
): Promise<void> {
  const decoder = new StringDecoder('utf8');
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  const held: string[] = [];
  try {
    for (let at = 0; at < bytes; ) {
      const { bytesRead } = await file.read(block, 0, Math.min(block.length, bytes - at), at);
      if (bytesRead === 0) return;
      at += bytesRead;
      const parts = decoder.write(block.subarray(0, bytesRead)).split('\n');
      const rest = parts.pop() ?? '';
      for (const [index, part] of parts.entries()) {
        // A line longer than many blocks is joined once, not once per block.
        const line = index === 0 ? held.splice(0).join('') + part : part;
        const pending = onLine(line);
        // Most callers are synchronous, and an await per line would double the cost of a long file.
        if (pending !== undefined) await pending;
      }
      held.push(rest);
    }
  } finally {
    await file.close();
  }
}
