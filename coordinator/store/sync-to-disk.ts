// Forces a file or a directory to the disk, so that it survives a power loss.
import { closeSync, fsyncSync, openSync } from 'node:fs';

/**
 * Waits until the file or directory is on the disk. A file's content survives a power loss once the file is synced, its name
 * once the directory is.
 * @throws Error of the disk.
 */
export function syncToDisk(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
