// Restores the rows of running daemons that the database lacks, because it was damaged and rebuilt, removed, or restored from a
// backup. The launcher's notes have what the rows need; adoption then finds these daemons like all others.
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { DaemonNote, Launcher, NoteFate } from '../../launch/launcher.ts';
import type { DaemonRow, Store } from '../../store/store.ts';

export interface LostDaemonsDeps {
  readonly store: Pick<Store, 'daemons' | 'workspaces' | 'transaction'>;
  readonly launcher: Pick<Launcher, 'lost' | 'adopt'>;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Restores the rows and workspaces of lost daemons that still run. Call it before other code reads the store.
 * @returns a function that ends the strays of lost daemons that are dead and removes their notes; it never rejects.
 * @throws ApiError 507 when the store refuses.
 */
export function recoverLostDaemons(deps: LostDaemonsDeps): () => Promise<void> {
  const { store, launcher, log } = deps;
  const lost = launcher.lost((incarnation) => fateOf(store.daemons.find(incarnation)));
  const running = lost.filter(({ isRunning }) => isRunning);
  store.transaction(() => {
    for (const note of running) recover(deps, note);
  });
  if (running.length > 0)
    log.warn(
      { incarnations: running.map(({ incarnation }) => incarnation) },
      'running daemons were missing from the database: their rows were recreated from their notes',
    );
  const dead = lost.filter(({ isRunning }) => !isRunning);
  return async () => {
    await Promise.all(dead.map((note) => bury(deps, note)));
  };
}

function fateOf(row: DaemonRow | undefined): NoteFate {
  if (row === undefined) return 'lost';
  if (row.state === 'ended') return 'over';
  return row.secret === '' ? 'lost' : 'known';
}

function recover({ store, clock }: LostDaemonsDeps, note: DaemonNote): void {
  const { workspaceId, workspacePath, incarnation, handle, secret, createdAtMs, facts } = note;
  const isRegistered = store.workspaces.list().some(({ id }) => id === workspaceId);
  if (!isRegistered)
    store.workspaces.upsert({
      id: workspaceId,
      path: workspacePath,
      displayName: null,
      origin: 'dynamic',
      createdAtMs: clock.nowMs(),
    });
  const row = { incarnation, workspaceId, launchHandle: handle, secret, createdAtMs };
  store.daemons.recover(row, { ...facts });
}

/** Ends the strays of a dead daemon and removes its note: both are done by `Launcher.adopt`. A failure is logged only. */
async function bury({ launcher, log }: LostDaemonsDeps, note: DaemonNote): Promise<void> {
  try {
    await launcher.adopt(note);
  } catch (error) {
    log.warn(
      { err: error, incarnation: note.incarnation },
      'leftovers of a dead daemon could not be removed yet',
    );
  }
}
