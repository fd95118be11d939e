// One file that is read while another one is written. Whatever goes wrong with either, no handle of the other one stays open.
import { closeSync, openSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** Replaces what `target` has. Both are closed when it settles. @throws the system's error, and what `use` throws. */
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

/** Adds to `target`, within one tick. Both are closed when it returns. @throws the system's error, and what `use` throws. */
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
