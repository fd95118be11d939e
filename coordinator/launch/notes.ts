// A note, a small file beside each daemon's socket: what a coordinator needs to find the daemon again when its database is lost.
// A note contains the secret; who can read it (directory 0700, notes 0600) can use the socket anyway. See
// docs/adr/0005-a-damaged-database.md.
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DaemonNote, LaunchSpec, NoteFate } from './launcher.ts';
import { type DaemonMark, handleOf } from './process-handle.ts';
import { findDaemon } from './process-tree.ts';

const SUFFIX = '.note.json';

/** The JSON in a note. Its form stays that of earlier releases, so that an older coordinator finds the daemons of this one. */
type Written = Pick<DaemonNote, 'workspaceId' | 'workspacePath' | 'secret' | 'createdAtMs'> &
  Omit<DaemonMark, 'pid' | 'startTime'>;

/** Path of the note for the daemon that listens on `socketPath`. */
export function notePathOf(socketPath: string): string {
  return socketPath.replace(/\.sock$/, '') + SUFFIX;
}

/** Whether a note exists for this socket: a daemon was started for it and was not seen to end. */
export function hasNote(socketPath: string): boolean {
  return existsSync(notePathOf(socketPath));
}

/** Writes the daemon's note; call it before the process is made. @throws Error when the directory cannot be written. */
export function writeNote(mark: DaemonMark, spec: LaunchSpec, createdAtMs: number): void {
  const { workspaceId, workspacePath, secret } = spec;
  const { incarnation, socketPath, logPath, bootId } = mark;
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
  // The note appears whole or not at all: a kill may come between any two writes.
  writeFileSync(`${path}.new`, `${JSON.stringify(note)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Removes the note, if there is one. Never throws. */
export function removeNote(socketPath: string): void {
  try {
    rmSync(notePathOf(socketPath), { force: true });
  } catch {
    // The runtime directory may be gone or changed by now. A note that stays is removed by the next coordinator (`readNotes`).
  }
}

/** As `Launcher.lost`: reads the notes in `runtimeDir`. Skips files that cannot be read as a note. */
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
    return fate === 'lost' ? [located(note)] : [];
  });
}

function located(note: Written): DaemonNote {
  const { workspaceId, workspacePath, incarnation, secret, createdAtMs } = note;
  const found = findDaemon(incarnation);
  const handle = handleOf({ ...note, pid: found?.pid ?? 0, startTime: found?.startTime ?? 0 });
  const facts = { pid: found?.pid ?? null };
  const isRunning = found !== undefined;
  return { workspaceId, workspacePath, incarnation, secret, createdAtMs, handle, isRunning, facts };
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
    // A note that was copied from another directory must not lead to the socket in that directory.
    return isWhole && notePathOf(String(note?.socketPath)) === path ? (note as Written) : undefined;
  } catch {
    // The file was removed meanwhile, or its content is no JSON.
    return undefined;
  }
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    // There is no runtime directory, so there are no notes.
    return [];
  }
}
