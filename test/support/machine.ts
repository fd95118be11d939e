// What the machine that the tests run on has, and lets them do.
import { spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why a program cannot be used here; undefined when it can. */
export function missing(program: string): string | undefined {
  return spawnSync(program, ['--version']).status === 0 ? undefined : `${program} is not installed`;
}

/** Whether files can be given to user and group `id`: not by everybody who is root in a container. */
export function canChownTo(id: number): boolean {
  const dir = mkdtempSync(join(tmpdir(), 'qf-chown-'));
  try {
    const file = join(dir, 'file');
    writeFileSync(file, '');
    chownSync(file, id, id);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
