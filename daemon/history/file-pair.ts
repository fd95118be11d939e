// Opens one file to read and another to write, for the duration of a function. Whatever fails, no handle stays open.
import { closeSync, openSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/**
 * Calls `use` with `source` open for reading and `target` emptied for writing. Both files are closed when the promise settles.
 * @throws the system's error, and what `use` throws.
 */
export async function withFiles<T>(
  source: string,
  target: string,
  use: (input: FileHandle, output: FileHandle) => Promise<T>,
): Promise<T> {
  const input = await open(source, 'r');
  try {
    const output = await open(target, 'w', 0o600);
    try {
      return await use(input, output);
    } finally {
      await output.close();
    }
  } finally {
    await input.close();
  }
}

/**
 * Calls `use`, within this tick, with `source` open for reading and `target` for appending. Both are closed when it returns.
 * @throws the system's error, and what `use` throws.
 */
export function withFilesSync(
  source: string,
  target: string,
  use: (input: number, output: number) => void,
): void {
  const input = openSync(source, 'r');
  try {
    const output = openSync(target, 'a', 0o600);
    try {
      use(input, output);
    } finally {
      closeSync(output);
    }
  } finally {
    closeSync(input);
  }
}
