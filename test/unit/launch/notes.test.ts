import { mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { LaunchSpec } from '../../../coordinator/launch/launcher.ts';
import { notePathOf, readNotes, removeNote, writeNote } from '../../../coordinator/launch/notes.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'qc-notes-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function specOf(incarnation: string): LaunchSpec {
  return {
    workspaceId: '00000000000000aa',
    workspacePath: '/projects/a',
    incarnation,
    socketPath: join(dir, `${incarnation}.sock`),
    secret: 'only-between-us',
    logPath: '/log',
    daemonStateDir: '/state',
    bridge: {} as LaunchSpec['bridge'],
  };
}

test('a note is private, tells all that is needed, and is gone when it is removed, twice if need be', () => {
  const spec = specOf('00000000000000aa-1');
  writeNote(spec, 'boot', 5);
  expect(statSync(notePathOf(spec.socketPath)).mode & 0o777).toBe(0o600);
  expect(readNotes(dir, () => 'lost')).toEqual([
    {
      workspaceId: spec.workspaceId,
      workspacePath: spec.workspacePath,
      incarnation: spec.incarnation,
      socketPath: spec.socketPath,
      secret: spec.secret,
      logPath: spec.logPath,
      bootId: 'boot',
      createdAtMs: 5,
      pid: null,
      startTime: null,
    },
  ]);
  removeNote(spec.socketPath);
  removeNote(spec.socketPath);
  expect(readdirSync(dir)).toEqual([]);
});

test('only lost ones are told; those whose daemon is over are forgotten', () => {
  for (const n of [1, 2, 3]) writeNote(specOf(`00000000000000aa-${n}`), 'boot', 5);
  const fates = { 1: 'known', 2: 'over', 3: 'lost' } as const;
  const told = readNotes(dir, (incarnation) => fates[Number(incarnation.at(-1)) as 1 | 2 | 3]);
  expect(told.map(({ incarnation }) => incarnation)).toEqual(['00000000000000aa-3']);
  expect(readdirSync(dir).sort()).toEqual(['00000000000000aa-1.note.json', '00000000000000aa-3.note.json']);
});

test('a note that is half, foreign, or moved from another socket is none', () => {
  const spec = specOf('00000000000000aa-1');
  writeNote(spec, 'boot', 5);
  renameSync(notePathOf(spec.socketPath), join(dir, '00000000000000aa-9.note.json'));
  writeFileSync(join(dir, 'half.note.json'), '{"incarnation":');
  writeFileSync(join(dir, 'null.note.json'), 'null');
  writeFileSync(join(dir, 'admin.sock'), '');
  expect(readNotes(dir, () => 'lost')).toEqual([]);
});

test('no directory, no notes', () => {
  expect(readNotes(join(dir, 'none'), () => 'lost')).toEqual([]);
});
