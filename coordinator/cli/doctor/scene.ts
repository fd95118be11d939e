// Gathers once what the checks of `doctor` look at: directories, database, the running coordinator. Each may be missing or
// unusable, which is a finding and no failure of `doctor`. Creates nothing.
import { join } from 'node:path';
import { DATABASE_FILE } from '../../app.ts';
import { type CgroupProbe, probeCgroups } from '../../launch/cgroup-probe.ts';
import { findStateDir, hasRuntimeDir, runtimeDirOf } from '../../launch/directories.ts';
import { type DatabaseInspection, inspectDatabase } from '../../store/inspect.ts';
import { stateLockOwner } from '../../store/lock.ts';
import { askCoordinator } from '../admin-client.ts';
import type { AdminTarget } from '../admin-socket.ts';
import type { Runtime } from '../runtime.ts';

/** The outcome of looking for a value: found, missing, or the reason why it cannot be read. */
export type Look<T> =
  | { readonly kind: 'found'; readonly value: T }
  | { readonly kind: 'missing' }
  | { readonly kind: 'bad'; readonly why: string };

export interface Scene {
  /** The state directory as the command line named it. */
  readonly stateDirNamed: string;
  readonly stateDir: Look<string>;
  readonly runtimeDir: Look<string>;
  readonly database: Look<DatabaseInspection>;
  /** The running coordinator's answer to `GET /admin/diagnostics`. */
  readonly coordinator: Look<Readonly<Record<string, unknown>>>;
  readonly cgroups: CgroupProbe;
}

export async function openScene(target: AdminTarget, runtime: Runtime): Promise<Scene> {
  const stateDir = look(() => findStateDir(target.stateDir));
  const runtimeDir = look(() =>
    stateDir.kind === 'found' ? existingRuntimeDir(stateDir.value, runtime) : undefined,
  );
  const database = look(() =>
    stateDir.kind === 'found' ? inspectDatabase(join(stateDir.value, DATABASE_FILE)) : undefined,
  );
  return {
    stateDirNamed: target.stateDir,
    stateDir,
    runtimeDir,
    database,
    coordinator: await lookForCoordinator(target, stateDir),
    cgroups: probeCgroups(),
  };
}

export function closeScene({ database }: Scene): void {
  if (database.kind === 'found') database.value.close();
}

function existingRuntimeDir(stateDir: string, { runtimeBases }: Runtime): string | undefined {
  const path = runtimeDirOf({ ...runtimeBases, uid: process.getuid?.() ?? 0, stateDir });
  return hasRuntimeDir(path) ? path : undefined;
}

async function lookForCoordinator(
  target: AdminTarget,
  stateDir: Look<string>,
): Promise<Look<Readonly<Record<string, unknown>>>> {
  if (stateDir.kind !== 'found') return { kind: 'missing' };
  const owner = look(() => stateLockOwner(stateDir.value));
  if (owner.kind !== 'found') return owner;
  try {
    return { kind: 'found', value: await askCoordinator(target, 'GET', '/admin/diagnostics') };
  } catch (error) {
    const pid = owner.value.pid ?? 'unknown';
    return { kind: 'bad', why: `pid ${pid} holds the state directory, but: ${(error as Error).message}` };
  }
}

function look<T>(find: () => T | undefined): Look<T> {
  try {
    const value = find();
    return value === undefined ? { kind: 'missing' } : { kind: 'found', value };
  } catch (error) {
    return { kind: 'bad', why: (error as Error).message };
  }
}
