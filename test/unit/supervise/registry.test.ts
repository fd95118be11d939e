import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { openStore } from '../../../coordinator/store/open.ts';
import type { Store } from '../../../coordinator/store/store.ts';
import { WorkspaceRegistry } from '../../../coordinator/supervise/workspaces/registry.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';

const log = pino({ level: 'silent' });
let dir = '';
let store: Store;
beforeEach(() => {
  dir = mkdtempSync(join(realpathSync(tmpdir()), 'qr-'));
  mkdirSync(join(dir, 'root', 'new'), { recursive: true });
  store = openStore({ path: join(dir, 'db'), clock: systemClock, log });
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true, force: true });
});

const registry = (workspaces: string[], roots: string[] = []) =>
  new WorkspaceRegistry({ workspaces, roots, store, clock: systemClock, log });
const paths = (from: WorkspaceRegistry) => from.list().map(({ path }) => path);

describe('workspace registry', () => {
  test('lists the primary first, then the others as they came', () => {
    const first = registry(['/p', '/q']);
    first.add('/r', 'R');
    expect(paths(first)).toEqual(['/p', '/q', '/r']);
    expect(first.primary()?.path).toBe('/p');
    expect(first.list().map(({ isStatic }) => isStatic)).toEqual([true, true, false]);
  });

  test('keeps the order of many that are registered within one millisecond', () => {
    const given = Array.from({ length: 12 }, (_, index) => `/p${index}`);
    const clock = { ...systemClock, nowMs: () => 1000 };
    const book = new WorkspaceRegistry({ workspaces: given, roots: [], store, clock, log });
    expect(paths(book)).toEqual(given);
  });

  test('keeps added workspaces over a restart, with the new command line in front', () => {
    registry(['/p']).add('/r', 'R');
    const next = registry(['/q']);
    expect(next.primary()?.path).toBe('/q');
    expect(next.list().map(({ path, isStatic, displayName }) => [path, isStatic, displayName])).toEqual([
      ['/q', true, undefined],
      ['/p', false, undefined],
      ['/r', false, 'R'],
    ]);
  });

  test('opens a directory under a root when a session asks for it, and only then', () => {
    const book = registry(['/p'], [join(dir, 'root')]);
    const path = join(dir, 'root', 'new');
    expect(book.find(path)).toBeUndefined();
    expect(book.open(path)?.path).toBe(path);
    expect(book.find(path)?.path).toBe(path);
  });

  test('refuses what is under a root and no directory, and does not know what is under none', () => {
    const book = registry(['/p'], [join(dir, 'root')]);
    expect(() => book.open(join(dir, 'root', 'missing'))).toThrow('is not a directory');
    expect(book.open('/elsewhere')).toBeUndefined();
    expect(paths(book)).toEqual(['/p']);
  });

  test('refuses a workspace twice and one inside another', () => {
    const book = registry(['/p']);
    expect(() => book.add('/p', undefined)).toThrow(expect.objectContaining({ code: 'workspace_exists' }));
    expect(() => book.add('/p/q', undefined)).toThrow(expect.objectContaining({ code: 'workspace_nested' }));
  });

  test('forgets a removed workspace for good', () => {
    const book = registry(['/p']);
    book.remove(book.add('/r', undefined).id);
    expect(paths(book)).toEqual(['/p']);
    expect(paths(registry(['/p']))).toEqual(['/p']);
  });

  test('without a static workspace the first one opened is the primary', () => {
    const book = registry([], [join(dir, 'root')]);
    expect(book.primary()).toBeUndefined();
    book.open(join(dir, 'root', 'new'));
    expect(book.primary()?.path).toBe(join(dir, 'root', 'new'));
  });
});
