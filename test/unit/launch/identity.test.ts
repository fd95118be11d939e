import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { comparePid, readBootId, startTimeOf } from '../../../coordinator/launch/identity.ts';
import { signalProcess } from '../../../coordinator/launch/process-tree.ts';
import { readProcStat } from '../../../daemon/contract/proc.ts';
import { eventually } from '../../support/eventually.ts';

const bootId = readBootId();
let child: ChildProcess;
let pid: number;
beforeEach(() => {
  child = spawn('sleep', ['600'], { stdio: 'ignore' });
  pid = child.pid ?? 0;
});
afterEach(async () => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
});

/** Resolves once the kernel shows `pid` in `state`, a letter of proc(5). */
function isInState(pid: number, state: string): Promise<boolean> {
  return eventually(`process ${pid} in state ${state}`, () => readProcStat(pid)?.state === state);
}

describe('a noted pid', () => {
  test('matches the process of the same boot and start time', () => {
    expect(comparePid({ bootId, pid, startTime: startTimeOf(pid) }, bootId)).toBe('match');
  });

  test('is proven dead by another start time, another boot, or no process', async () => {
    const startTime = startTimeOf(pid);
    expect(comparePid({ bootId, pid, startTime: startTime - 1 }, bootId)).toBe('mismatch');
    expect(comparePid({ bootId: 'earlier', pid, startTime }, bootId)).toBe('mismatch');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(comparePid({ bootId, pid, startTime }, bootId)).toBe('mismatch');
    expect(startTimeOf(pid)).toBe(0);
  });

  test('of a zombie is dead', async () => {
    // A shell that is stopped before its child ends cannot reap it; one that runs may, at any time.
    const shell = spawn('sh', ['-c', 'sleep 600 & echo $!; kill -STOP $$'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const [line] = await once(shell.stdout, 'data');
      const zombie = Number(line);
      await isInState(shell.pid ?? 0, 'T');
      process.kill(zombie, 'SIGKILL');
      await isInState(zombie, 'Z');
      expect(comparePid({ bootId, pid: zombie, startTime: startTimeOf(zombie) }, bootId)).toBe('mismatch');
    } finally {
      shell.kill('SIGKILL');
      await once(shell, 'exit');
    }
  });

  test('without a start time is unverifiable while some process has it', () => {
    expect(comparePid({ bootId, pid, startTime: 0 }, bootId)).toBe('unverifiable');
  });

  test('is signalled only with the right start time', async () => {
    expect(signalProcess({ pid, startTime: startTimeOf(pid) - 1 }, 'SIGKILL')).toBe(false);
    expect(comparePid({ bootId, pid, startTime: startTimeOf(pid) }, bootId)).toBe('match');
    const exited = once(child, 'exit');
    expect(signalProcess({ pid, startTime: startTimeOf(pid) }, 'SIGKILL')).toBe(true);
    expect(await exited).toEqual([null, 'SIGKILL']);
  });
});
