import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { createLog, logDestination } from '../../../daemon/contract/log.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

function descriptor(path: string): number {
  const fd = openSync(path, 'a');
  closers.push(() => closeSync(fd));
  return fd;
}

const onLinux = existsSync('/dev/full') ? test : test.skip;

onLinux('a disk that takes no more lines does not end whoever logs', () => {
  const log = createLog('t', 'info', logDestination(descriptor('/dev/full')));
  for (let n = 0; n < 2000; n++) log.info({ n, text: 'x'.repeat(500) }, 'nobody reads this');
});

test('lines are written one by one, in order', () => {
  const dir = mkdtempSync(join(tmpdir(), 'log-'));
  closers.push(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, 'log');
  const log = createLog('t', 'info', logDestination(descriptor(path)));
  for (const n of [1, 2, 3]) log.info({ n });
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  expect(lines.map((line) => JSON.parse(line).n)).toEqual([1, 2, 3]);
});
