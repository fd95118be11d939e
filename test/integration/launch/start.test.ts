import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { writeHandle } from '../../../coordinator/launch/handle.ts';
import { tail } from '../../../coordinator/launch/log-files.ts';
import { readEnvironValue, readProcStat } from '../../../daemon/contract/proc.ts';
import { Bench, eventually, isRunning, markOf } from './harness.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

describe('a daemon that becomes ready', () => {
  test('is told who it is, answers its ready line, and is marked by pid and start time', async () => {
    const { process: daemon, ready } = bench.start();
    expect(await ready).toEqual({ address: { kind: 'unix', path: bench.socketPath }, version: 'fake' });
    const { pid, startTime } = markOf(daemon);
    expect(readProcStat(pid)).toMatchObject({ startTime });
    expect(daemon).toMatchObject({ incarnation: bench.incarnation, facts: { pid } });
    expect(existsSync(bench.socketPath)).toBe(true);
  });

  test('leads a session of its own and carries its incarnation in its environment', async () => {
    const { process: daemon, ready } = bench.start();
    await ready;
    const { pid } = markOf(daemon);
    expect(readProcStat(pid)).toMatchObject({ session: pid, pgid: pid });
    expect(readEnvironValue(pid, 'QWEN_COORDINATOR_INCARNATION')).toBe(bench.incarnation);
  });

  test('writes a log that only its owner can read', async () => {
    await bench.start().ready;
    expect(tail(bench.logPath, 5)).toEqual(['listening']);
    expect(statSync(bench.logPath).mode & 0o777).toBe(0o600);
  });
});

describe('a daemon that does not become ready', () => {
  test('says why in its own words when it refuses', async () => {
    const { ready, process: daemon } = bench.start({ answer: 'refuse' });
    await expect(ready).rejects.toThrow(/^another daemon \(pid 7\) holds this workspace$/);
    expect(await daemon.exited).toMatchObject({ code: 1, signal: null });
  });

  test('is reported with exit code and last lines when it exits first', async () => {
    const { ready, process: daemon } = bench.start({ answer: 'exit' });
    await expect(ready).rejects.toThrow(/exited with code 3 before it was ready.*cannot find my workspace/s);
    expect(await daemon.exited).toMatchObject({
      code: 3,
      signal: null,
      lastLines: ['cannot find my workspace'],
      strays: 0,
      oomKills: null,
      peakBytes: null,
    });
  });

  test('is reported with its signal when it is killed first', async () => {
    const { ready, process: daemon } = bench.start({ answer: 'never' });
    process.kill(markOf(daemon).pid, 'SIGKILL');
    await expect(ready).rejects.toThrow(/was killed by SIGKILL before it was ready/);
    expect(await daemon.exited).toMatchObject({ code: null, signal: 'SIGKILL' });
  });

  test('is quoted when it answers something else, and not believed when it answers for another', async () => {
    await expect(bench.start({ answer: 'garbage' }).ready).rejects.toThrow(/"hello, is this the daemon\?"/);
    await bench.close();
    bench = new Bench();
    await expect(bench.start({ answer: 'flood' }).ready).rejects.toThrow(/more than 65536 bytes/);
    await bench.close();
    bench = new Bench();
    const { ready } = bench.start({ answer: 'other-incarnation' });
    await expect(ready).rejects.toThrow(/incarnation not-what-was-asked-for, expected/);
  });

  test('can be ended while it still does not answer, and then says how it ended', async () => {
    const { ready, process: daemon } = bench.start({ answer: 'never' });
    const isSettled = await Promise.race([
      ready.then(
        () => true,
        () => true,
      ),
      eventually(() => tail(bench.logPath, 1).length === 0).then(() => false),
    ]);
    expect(isSettled).toBe(false);
    await daemon.terminate(2000);
    await expect(ready).rejects.toThrow(/before it was ready/);
    expect(isRunning(markOf(daemon).pid)).toBe(false);
  });
});

test('a handle that was planned before a reboot starts a daemon of this boot', async () => {
  const handle = bench.launcher({}, { bootId: 'an earlier boot' }).plan(bench.spec());
  const { process: daemon, ready } = bench.launcher().start(handle, bench.spec());
  bench.endsToo(daemon.handle);
  await ready;
  expect(await bench.launcher().adopt(bench.known(daemon.handle))).toMatchObject({ verdict: 'alive' });
});

describe('a second start of the same handle', () => {
  test('gives the first one’s daemon', async () => {
    const launcher = bench.launcher();
    const handle = launcher.plan(bench.spec());
    const first = launcher.start(handle, bench.spec());
    bench.endsToo(first.process.handle);
    expect(launcher.start(handle, bench.spec())).toBe(first);
    await first.ready;
    expect(launcher.start(first.process.handle, bench.spec())).toBe(first);
  });

  test('by another coordinator finds the daemon, gives its first word again, and can end it', async () => {
    const first = bench.start();
    const { address, version } = await first.ready;
    const launcher = bench.launcher();
    const again = launcher.start(launcher.plan(bench.spec()), bench.spec());
    expect(again.process.handle).toBe(first.process.handle);
    expect(await again.ready).toEqual({ address, version });
    await again.process.terminate(5000);
    expect(isRunning(markOf(first.process).pid)).toBe(false);
  });

  test('while it does not answer yet waits for it, and hears of its end', async () => {
    const first = bench.start({ answer: 'never' });
    const launcher = bench.launcher();
    const again = launcher.start(launcher.plan(bench.spec()), bench.spec());
    expect(again.process.handle).toBe(first.process.handle);
    await first.process.terminate(2000);
    await expect(again.ready).rejects.toThrow('the daemon ended before it was ready');
  });

  test('of a daemon that has ended makes a new one', async () => {
    const first = bench.start();
    await first.ready;
    await first.process.terminate(5000);
    const second = bench.start();
    await second.ready;
    expect(markOf(second.process).pid).not.toBe(markOf(first.process).pid);
  });
});

test('a handle of another launcher is not started', () => {
  expect(() => bench.launcher().start(writeHandle('scheduler', 1, {}), bench.spec())).toThrow(
    /the launcher "scheduler" .* started it, and this coordinator uses "process"/,
  );
  expect(existsSync(bench.logPath)).toBe(false);
});

describe('a daemon that cannot be made', () => {
  test('a program that is missing or not executable is refused at once', () => {
    const start = (program: string) => {
      const launcher = bench.launcher({}, { daemonCommand: [program] });
      launcher.start(launcher.plan(bench.spec()), bench.spec());
    };
    expect(() => start('/does/not/exist')).toThrow(/ENOENT.*\/does\/not\/exist/);
    const text = join(bench.dir, 'readme.txt');
    writeFileSync(text, 'no program', { mode: 0o600 });
    expect(() => start(text)).toThrow(/EACCES/);
    expect(() => start('no-such-program-anywhere')).toThrow(
      /cannot start a daemon.*no-such-program-anywhere/,
    );
  });

  test('a socket path over 100 bytes is refused by its length before anything is started', () => {
    const runtimeDir = `/tmp/${'x'.repeat(100)}`;
    const launcher = bench.launcher({}, { runtimeDir });
    expect(() => launcher.plan(bench.spec())).toThrow(/1[34]\d bytes.*XDG_RUNTIME_DIR/);
    expect(existsSync(bench.logPath)).toBe(false);
  });
});
