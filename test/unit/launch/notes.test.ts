import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { LaunchSpec } from '../../../coordinator/launch/launcher.ts';
import { hasNote, notePathOf, readNotes, removeNote, writeNote } from '../../../coordinator/launch/notes.ts';
import { type DaemonMark, handleOf } from '../../../coordinator/launch/process-handle.ts';

/** Of this run alone: a process of another run would be found by its incarnation. */
const WORKSPACE_ID = randomBytes(8).toString('hex');

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'qc-notes-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function markOf(incarnation: string): DaemonMark {
  const socketPath = join(dir, `${incarnation}.sock`);
  return { incarnation, socketPath, bootId: 'boot', logPath: '/log', pid: 0, startTime: 0 };
}

/** Notes a daemon down, as the launcher does before it makes the process. */
function note(incarnation: string): DaemonMark {
  const mark = markOf(incarnation);
  const spec = {
    workspaceId: WORKSPACE_ID,
    workspacePath: '/projects/a',
    incarnation,
    secret: 'only-between-us',
    bridge: {} as LaunchSpec['bridge'],
  };
  writeNote(mark, spec, 5);
  return mark;
}

test('a note is private, tells all that is needed, and is gone when it is removed, twice if need be', () => {
  const mark = note(`${WORKSPACE_ID}-1`);
  expect(statSync(notePathOf(mark.socketPath)).mode & 0o777).toBe(0o600);
  expect(hasNote(mark.socketPath)).toBe(true);
  expect(readNotes(dir, () => 'lost')).toEqual([
    {
      workspaceId: WORKSPACE_ID,
      workspacePath: '/projects/a',
      incarnation: mark.incarnation,
      handle: handleOf(mark),
      secret: 'only-between-us',
      createdAtMs: 5,
      isRunning: false,
      facts: { pid: null },
    },
  ]);
  removeNote(mark.socketPath);
  removeNote(mark.socketPath);
  expect(readdirSync(dir)).toEqual([]);
  expect(hasNote(mark.socketPath)).toBe(false);
});

test('a note is written as earlier releases read it', () => {
  const { socketPath } = note(`${WORKSPACE_ID}-1`);
  expect(JSON.parse(readFileSync(notePathOf(socketPath), 'utf8'))).toEqual({
    workspaceId: WORKSPACE_ID,
    workspacePath: '/projects/a',
    incarnation: `${WORKSPACE_ID}-1`,
    socketPath,
    secret: 'only-between-us',
    logPath: '/log',
    bootId: 'boot',
    createdAtMs: 5,
  });
});

test('only lost ones are told; those whose daemon is over are forgotten', () => {
  for (const n of [1, 2, 3]) note(`${WORKSPACE_ID}-${n}`);
  const fates = { 1: 'known', 2: 'over', 3: 'lost' } as const;
  const told = readNotes(dir, (incarnation) => fates[Number(incarnation.at(-1)) as 1 | 2 | 3]);
  expect(told.map(({ incarnation }) => incarnation)).toEqual([`${WORKSPACE_ID}-3`]);
  expect(readdirSync(dir).sort()).toEqual([`${WORKSPACE_ID}-1.note.json`, `${WORKSPACE_ID}-3.note.json`]);
});

test('a note that is half, foreign, or moved from another socket is none', () => {
  const spec = note(`${WORKSPACE_ID}-1`);
  renameSync(notePathOf(spec.socketPath), join(dir, `${WORKSPACE_ID}-9.note.json`));
  writeFileSync(join(dir, 'half.note.json'), '{"incarnation":');
  writeFileSync(join(dir, 'null.note.json'), 'null');
  writeFileSync(join(dir, 'admin.sock'), '');
  expect(readNotes(dir, () => 'lost')).toEqual([]);
});

test('no directory, no notes', () => {
  expect(readNotes(join(dir, 'none'), () => 'lost')).toEqual([]);
});
