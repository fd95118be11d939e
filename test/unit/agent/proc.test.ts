import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  descendantsOf,
  isAlive,
  listProcStats,
  type ProcStat,
  parseProcStat,
  readEnvironValue,
  readProcStat,
  rssBytesOfGroup,
} from '../../../daemon/contract/proc.ts';

const NUMBERS_AFTER_STATE = '10 20 30 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000000 250';

function stat(pid: number, ppid: number): ProcStat {
  return { pid, ppid, pgid: 1, session: 1, startTime: pid, state: 'S' };
}

describe('a stat line', () => {
  test('is read from the last parenthesis, whatever the process calls itself', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 15 }), (name) => {
        expect(parseProcStat(`42 (${name}) S ${NUMBERS_AFTER_STATE}`)).toEqual({
          pid: 42,
          ppid: 10,
          pgid: 20,
          session: 30,
          startTime: 987654,
          state: 'S',
        });
      }),
    );
  });

  test.each(['', '42', 'x (name) S 1 2 3', '42 (cut) S 1 2'])(
    'that is cut or foreign (%j) is unknown',
    (text) => {
      expect(parseProcStat(text)).toBeUndefined();
    },
  );
});

describe('the live process table', () => {
  test('has this process, with its parent, group and a start time', () => {
    const self = readProcStat(process.pid);
    expect(self).toMatchObject({ pid: process.pid, ppid: process.ppid });
    expect(self?.startTime).toBeGreaterThan(0);
    expect(listProcStats()).toContainEqual(expect.objectContaining({ pid: process.pid, pgid: self?.pgid }));
  });

  test('knows nothing of a pid that cannot exist', () => {
    expect(readProcStat(2 ** 30)).toBeUndefined();
    expect(readEnvironValue(2 ** 30, 'PATH')).toBeUndefined();
    expect(rssBytesOfGroup(2 ** 30)).toBe(0);
  });

  test('shows the environment that a process was started with', () => {
    expect(readEnvironValue(process.pid, 'PATH')).toBe(process.env.PATH);
    expect(readEnvironValue(process.pid, 'NO_SUCH_VARIABLE')).toBeUndefined();
  });

  test('sums the memory of a group', () => {
    const own = readProcStat(process.pid);
    expect(rssBytesOfGroup(own?.pgid ?? -1)).toBeGreaterThan(1024 * 1024);
  });
});

test('descendants are found to any depth, parents first, without the root', () => {
  const table = [stat(5, 4), stat(2, 1), stat(3, 2), stat(4, 3), stat(9, 8)];
  expect(descendantsOf(2, table)).toEqual([3, 4, 5]);
});

test('a circle of parents ends', () => {
  expect(descendantsOf(1, [stat(2, 3), stat(3, 2), stat(1, 2), stat(2, 1)])).toEqual([2, 3]);
});

test.each([
  ['S', true],
  ['R', true],
  ['T', true],
  ['Z', false],
  ['X', false],
])('state %s counts as alive: %s', (state, expected) => {
  expect(isAlive({ ...stat(1, 0), state })).toBe(expected);
});
