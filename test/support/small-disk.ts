// A disk of a few MB that a test can fill: a tmpfs of its own. Needs the right to mount; where that is missing the test says
// so and is skipped.
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, realpathSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BLOCK = Buffer.alloc(4096);

export class SmallDisk {
  readonly path = mkdtempSync(join(realpathSync(tmpdir()), 'qd-'));

  /** @throws Error when this process may not mount. */
  constructor(megabytes: number) {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0700`, 'tmpfs', this.path], {
        stdio: 'pipe',
      });
    } catch (error) {
      rmSync(this.path, { recursive: true });
      throw error;
    }
  }

  /** Takes every byte that is left. */
  fill(): void {
    const fd = openSync(join(this.path, 'filler'), 'a');
    try {
      for (;;) writeSync(fd, BLOCK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      closeSync(fd);
    }
  }

  free(): void {
    rmSync(join(this.path, 'filler'), { force: true });
  }

  remove(): void {
    execFileSync('umount', ['-l', this.path], { stdio: 'pipe' });
    rmSync(this.path, { recursive: true });
  }
}

/** Why no small disk can be made here; undefined when one can. */
export function whyNoSmallDisk(): string | undefined {
  try {
    new SmallDisk(1).remove();
    return undefined;
  } catch (error) {
    return `a tmpfs cannot be mounted here: ${(error as Error).message.split('\n')[0]}`;
  }
}
