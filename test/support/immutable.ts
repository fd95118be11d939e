// Files that nobody can write to, root included: `chattr +i`. Needs the right to set it and a file system that has it and
// minds it for descriptors that are open already; where one is missing the test says so and is skipped.
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, realpathSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** @throws Error when it cannot be done; then none of them is left immutable. */
function setImmutable(paths: readonly string[]): () => void {
  const chattr = (flag: '+i' | '-i') => execFileSync('chattr', [flag, ...paths], { stdio: 'pipe' });
  let isSet = true;
  const unset = () => {
    if (isSet) chattr('-i');
    isSet = false;
  };
  try {
    chattr('+i');
  } catch (error) {
    try {
      unset();
    } catch {
      // Nothing was set, for the same reason.
    }
    throw error;
  }
  return unset;
}

/** Runs `during` while none of the files can be written to; it may end that earlier itself. */
export async function whileImmutable(
  paths: readonly string[],
  during: (end: () => void) => Promise<void>,
): Promise<void> {
  const end = setImmutable(paths);
  try {
    await during(end);
  } finally {
    end();
  }
}

/** Why no file can be made immutable here; undefined when one can. */
export function whyNotImmutable(): string | undefined {
  const dir = mkdtempSync(join(realpathSync(tmpdir()), 'qi-'));
  const path = join(dir, 'file');
  const fd = openSync(path, 'w');
  try {
    const end = setImmutable([path]);
    try {
      writeSync(fd, 'x');
      return 'an immutable file still takes writes here';
    } catch {
      return undefined;
    } finally {
      end();
    }
  } catch (error) {
    return `chattr +i is impossible here: ${(error as Error).message.split('\n')[0]}`;
  } finally {
    closeSync(fd);
    rmSync(dir, { recursive: true });
  }
}
