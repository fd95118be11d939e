// The table of daemons: one row for each incarnation. The row is committed before the daemon starts and stays after its end.
import type { StoreDatabase } from './database.ts';
import type { EventTable } from './events.ts';
import type { SessionTable } from './sessions.ts';
import type { DaemonRow, Daemons, RecoveredDaemon, ShownFacts } from './store.ts';

type Starting = Parameters<Daemons['insertStarting']>[0];
type End = Parameters<Daemons['setEnded']>[1];

const UNCHANGED = { state: null, launchHandle: null, address: null, secret: null, version: null };

const COLUMNS = `incarnation, workspace_id AS workspaceId, state, launch_handle AS launchHandle, address, secret,
  version, created_at_ms AS createdAtMs, start_deadline_at_ms AS startDeadlineAtMs, ended_at_ms AS endedAtMs,
  exit_code AS exitCode, exit_signal AS exitSignal, end_reason AS endReason, can_load AS canLoad`;

/**
 * The table of daemons. A setter does nothing for an incarnation that is unknown or already ended, so that a late report cannot
 * revive a daemon. The secret of an ended row is blanked, because no process expects it any more.
 */
export function createDaemons(database: StoreDatabase, events: EventTable, sessions: SessionTable): Daemons {
  const rows = daemonRows(database);
  const changes = new DaemonChanges(rows, events, sessions);
  return {
    nextIncarnation: (workspaceId) =>
      database.write(() => `${workspaceId}-${rows.issue.get({ workspaceId })?.issued}`),
    insertStarting: (row) => database.write(() => changes.insertStarting(row)),
    setLaunched: (incarnation, launchHandle, facts) =>
      database.write(() => changes.advance(incarnation, 'daemon_spawned', { launchHandle }, facts)),
    setReady: (incarnation, { version, ...reach }) =>
      database.write(() =>
        changes.advance(incarnation, 'daemon_ready', { state: 'ready', version, ...reach }, { version }),
      ),
    setCanLoad: (incarnation, canLoad) =>
      database.write(() => {
        rows.setCanLoad.run({ incarnation, canLoad: canLoad ? 1 : 0 });
      }),
    setEnded: (incarnation, end) => database.write(() => changes.setEnded(incarnation, end)),
    recover: (row, facts) => database.write(() => changes.recover(row, facts)),
    unended: () => rows.unended.all({}),
    find: (incarnation) => rows.find.get({ incarnation }),
    latest: (workspaceId) => rows.latest.get({ workspaceId }),
    countStarts(workspaceId) {
      try {
        return rows.starts.get({ workspaceId })?.starts ?? 0;
      } catch {
        // Diagnostics show this number also while the database is damaged, and their warnings say that it is.
        return 0;
      }
    },
  };
}

/** The changes of a daemon's row, each with its event row. Every method runs inside a transaction of its caller. */
class DaemonChanges {
  readonly #rows: ReturnType<typeof daemonRows>;
  readonly #events: EventTable;
  readonly #sessions: SessionTable;

  constructor(rows: ReturnType<typeof daemonRows>, events: EventTable, sessions: SessionTable) {
    this.#rows = rows;
    this.#events = events;
    this.#sessions = sessions;
  }

  insertStarting(row: Starting): void {
    const { workspaceId, incarnation } = row;
    this.#rows.insert.run(row);
    this.#rows.countStart.run({ workspaceId });
    this.#events.add({ kind: 'daemon_starting', workspaceId, incarnation });
  }

  setEnded(incarnation: string, end: End): ReturnType<Daemons['setEnded']> {
    const row = this.#rows.find.get({ incarnation });
    if (row === undefined || row.state === 'ended') return [];
    const event = { type: 'daemon_ended', kind: end.kind, canLoad: row.canLoad === 1 } as const;
    const moved = this.#sessions.moveAllOf(incarnation, end.atMs, event, `daemon_${end.kind}`);
    const { atMs, code, signal, reason } = end;
    this.#rows.end.run({ incarnation, atMs, code, signal, reason });
    const { kind, detail } = end.event ?? { kind: 'daemon_ended', detail: {} };
    this.#events.add({
      kind,
      workspaceId: row.workspaceId,
      incarnation,
      detail: { cause: reason, code, signal, sessions: moved.length, ...detail },
    });
    return moved;
  }

  recover(row: RecoveredDaemon, facts: ShownFacts): boolean {
    const known = this.#rows.find.get({ incarnation: row.incarnation });
    if (known?.state === 'ended' || (known !== undefined && known.secret !== '')) return false;
    const { incarnation, workspaceId } = row;
    if (known === undefined) this.#rows.insertRecovered.run(row);
    else this.#rows.setSecret.run({ incarnation, secret: row.secret });
    this.#rows.raiseIssued.run({ workspaceId, issued: Number(incarnation.split('-').at(-1)) || 0 });
    this.#events.add({ kind: 'daemon_recovered', workspaceId, incarnation, detail: facts });
    return true;
  }

  /** Changes the row of an unended incarnation and adds an event row of `kind`. Does nothing for any other incarnation. */
  advance(incarnation: string, kind: string, change: object, detail: Record<string, unknown>): void {
    const row = this.#rows.find.get({ incarnation });
    if (row === undefined || row.state === 'ended') return;
    this.#rows.advance.run({ ...UNCHANGED, incarnation, ...change });
    this.#events.add({ kind, workspaceId: row.workspaceId, incarnation, detail });
  }
}

function daemonRows(database: StoreDatabase) {
  return {
    find: database.prepare<{ incarnation: string }, DaemonRow>(
      `SELECT ${COLUMNS} FROM daemons WHERE incarnation = @incarnation`,
    ),
    issue: database.prepare<{ workspaceId: string }, { issued: number }>(
      `INSERT INTO workspace_starts (workspace_id, issued) VALUES (@workspaceId, 1)
       ON CONFLICT (workspace_id) DO UPDATE SET issued = issued + 1 RETURNING issued`,
    ),
    insert: database.prepare<Starting>(
      `INSERT INTO daemons (incarnation, workspace_id, state, launch_handle, secret, created_at_ms, start_deadline_at_ms)
       VALUES (@incarnation, @workspaceId, 'starting', @launchHandle, @secret, @createdAtMs, @startDeadlineAtMs)`,
    ),
    // Start deadline 0, which is over: a recovered daemon was running, so no interrupted start can still make it.
    insertRecovered: database.prepare<RecoveredDaemon>(
      `INSERT INTO daemons (incarnation, workspace_id, state, launch_handle, secret, created_at_ms, start_deadline_at_ms)
       VALUES (@incarnation, @workspaceId, 'starting', @launchHandle, @secret, @createdAtMs, 0)`,
    ),
    setSecret: database.prepare<{ incarnation: string; secret: string }>(
      'UPDATE daemons SET secret = @secret WHERE incarnation = @incarnation',
    ),
    raiseIssued: database.prepare<{ workspaceId: string; issued: number }>(
      `INSERT INTO workspace_starts (workspace_id, issued, starts) VALUES (@workspaceId, @issued, 1)
       ON CONFLICT (workspace_id) DO UPDATE SET issued = max(issued, excluded.issued)`,
    ),
    countStart: database.prepare<{ workspaceId: string }>(
      `INSERT INTO workspace_starts (workspace_id, starts) VALUES (@workspaceId, 1)
       ON CONFLICT (workspace_id) DO UPDATE SET starts = starts + 1`,
    ),
    advance: database.prepare<object>(
      `UPDATE daemons SET state = coalesce(@state, state), launch_handle = coalesce(@launchHandle, launch_handle),
         address = coalesce(@address, address), secret = coalesce(@secret, secret), version = coalesce(@version, version)
       WHERE incarnation = @incarnation`,
    ),
    setCanLoad: database.prepare<{ incarnation: string; canLoad: 0 | 1 }>(
      `UPDATE daemons SET can_load = @canLoad WHERE incarnation = @incarnation AND state <> 'ended'`,
    ),
    end: database.prepare<Record<string, unknown>>(
      `UPDATE daemons SET state = 'ended', secret = '', ended_at_ms = @atMs, exit_code = @code,
         exit_signal = @signal, end_reason = @reason
       WHERE incarnation = @incarnation`,
    ),
    unended: database.prepare<object, DaemonRow>(
      `SELECT ${COLUMNS} FROM daemons WHERE state <> 'ended' ORDER BY id`,
    ),
    latest: database.prepare<{ workspaceId: string }, DaemonRow>(
      `SELECT ${COLUMNS} FROM daemons WHERE workspace_id = @workspaceId ORDER BY id DESC LIMIT 1`,
    ),
    starts: database.prepare<{ workspaceId: string }, { starts: number }>(
      'SELECT starts FROM workspace_starts WHERE workspace_id = @workspaceId',
    ),
  };
}
