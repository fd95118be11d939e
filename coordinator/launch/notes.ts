// A note beside each daemon's socket: what a coordinator needs to find the daemon again when its database is lost. Whoever
// can read this directory (0700, the notes 0600) can use the sockets in it anyway. See docs/adr/0005-a-damaged-database.md.
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DaemonNote, LaunchSpec, NoteFate } from './launcher.ts';
import { findDaemon } from './process-tree.ts';

const SUFFIX = '.note.json';

type Written = Omit<DaemonNote, 'pid' | 'startTime'>;

/** Where the note of the daemon on this socket is. */
export function notePathOf(socketPath: string): string {
  return socketPath.replace(/\.sock$/, '') + SUFFIX;
}

/** Call it before the process is made. @throws Error when the directory cannot be written. */
export function writeNote(spec: LaunchSpec, bootId: string, createdAtMs: number): void {
  const { workspaceId, workspacePath, incarnation, socketPath, secret, logPath } = spec;
  const note: Written = {
    workspaceId,
    workspacePath,
    incarnation,
    socketPath,
    secret,
    logPath,
    bootId,
    createdAtMs,
  };
  const path = notePathOf(socketPath);
  // Whole or not at all: a kill may come between any two writes.
  writeFileSync(`${path}.new`, `${JSON.stringify(note)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Removes the note, if there is one. Never throws. */
export function removeNote(socketPath: string): void {
  try {
    rmSync(notePathOf(socketPath), { force: true });
  } catch {
    // Its directory may be gone or changed by now; a note without a process is removed by the next start.
  }
}

/** As `Launcher.list`. What cannot be read is no note. */
export function readNotes(
  runtimeDir: string,
  fateOf: (incarnation: string) => NoteFate,
): readonly DaemonNote[] {
  const notes = namesIn(runtimeDir)
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => readNote(join(runtimeDir, name)))
    .filter((note) => note !== undefined);
  return notes.flatMap((note) => {
    const fate = fateOf(note.incarnation);
    if (fate === 'over') removeNote(note.socketPath);
    if (fate !== 'lost') return [];
    const found = findDaemon(note.incarnation);
    return [{ ...note, pid: found?.pid ?? null, startTime: found?.startTime ?? null }];
  });
}

function readNote(path: string): Written | undefined {
  try {
    const note = JSON.parse(readFileSync(path, 'utf8')) as Partial<Written> | null;
    const texts = [
      note?.workspaceId,
      note?.workspacePath,
      note?.incarnation,
      note?.socketPath,
      note?.secret,
      note?.logPath,
      note?.bootId,
    ];
    const isWhole = texts.every((text) => typeof text === 'string') && typeof note?.createdAtMs === 'number';
    // A copied note must not send us to another directory's socket.
    return isWhole && notePathOf(String(note?.socketPath)) === path ? (note as Written) : undefined;
  } catch {
    // Removed meanwhile, or somebody else's file.
    return undefined;
  }
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    // No directory, no notes.
    return [];
  }
}
