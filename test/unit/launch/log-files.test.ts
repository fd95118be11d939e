import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { rotateIfLarge, tail } from '../../../coordinator/launch/log-files.ts';

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'qc-logs-'));
  path = join(dir, 'daemon.log');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const read = (end = '') => readFileSync(`${path}${end}`, 'utf8');

describe('rotation', () => {
  test('a log up to the limit stays, and a missing one is no error', () => {
    expect(rotateIfLarge(path, 10, 2)).toBe(false);
    writeFileSync(path, '0123456789');
    expect(rotateIfLarge(path, 10, 2)).toBe(false);
    expect(read()).toBe('0123456789');
  });

  test('a writer that holds the file open goes on at the start of the emptied one', () => {
    const fd = openSync(path, 'a');
    try {
      writeSync(fd, 'before\n');
      expect(rotateIfLarge(path, 3, 2)).toBe(true);
      writeSync(fd, 'after\n');
      expect([read('.1'), read()]).toEqual(['before\n', 'after\n']);
    } finally {
      closeSync(fd);
    }
  });

  test('older ones move up and the oldest beyond the number kept goes', () => {
    for (const text of ['one', 'two', 'three', 'four']) {
      writeFileSync(path, text);
      rotateIfLarge(path, 1, 2);
    }
    expect([read('.1'), read('.2'), existsSync(`${path}.3`)]).toEqual(['four', 'three', false]);
  });

  test('with none kept the log is only emptied', () => {
    writeFileSync(path, 'text');
    expect(rotateIfLarge(path, 1, 0)).toBe(true);
    expect([read(), existsSync(`${path}.1`)]).toEqual(['', false]);
  });
});

describe('the tail', () => {
  test('is the last lines, oldest first, whether or not the last one is finished', () => {
    writeFileSync(path, 'a\nb\nc\n');
    expect(tail(path, 2)).toEqual(['b', 'c']);
    appendFileSync(path, 'd');
    expect(tail(path, 2)).toEqual(['c', 'd']);
    expect(tail(path, 99)).toEqual(['a', 'b', 'c', 'd']);
  });

  test('of a missing or empty log, or of no lines, is empty', () => {
    expect(tail(path, 5)).toEqual([]);
    writeFileSync(path, '');
    expect(tail(path, 5)).toEqual([]);
    writeFileSync(path, 'a\n');
    expect(tail(path, 0)).toEqual([]);
  });

  test('reads 64 KiB at most and shows no half line', () => {
    const line = 'x'.repeat(999);
    writeFileSync(path, `${line}\n`.repeat(1000));
    const lines = tail(path, 1000);
    expect(lines).toHaveLength(65);
    expect(new Set(lines)).toEqual(new Set([line]));
  });

  test('of one endless line is its end', () => {
    writeFileSync(path, 'y'.repeat(200_000));
    expect(tail(path, 5)).toEqual(['y'.repeat(64 * 1024)]);
  });
});
