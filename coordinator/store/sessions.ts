// The tables of sessions and of their registered clients, as their daemon last reported them. A closed session keeps its row.
import type { FeedClient, FeedSession, Shelf } from '../../daemon/contract/feed.ts';
import { isUuid, sessionKey } from '../../daemon/contract/wire.ts';
import { nextState, type SessionEvent, type SessionState } from '../domain/session.ts';
import type { StoreDatabase } from './database.ts';
import type { EventTable } from './events.ts';
import type { PromptTable } from './prompts.ts';
import type { SessionRow, Sessions } from './store.ts';

export interface SessionTable extends Sessions {
  /**
   * Moves every live session of the incarnation to the state that follows `event`, in the transaction that the caller has open.
   * @returns the sessions with their new states.
   */
  moveAllOf(
    incarnation: string,
    atMs: number,
    event: SessionEvent,
    reason: string,
  ): readonly { readonly sessionId: string; readonly state: SessionState }[];
}

type StoredSession = Omit<SessionRow, 'isDefault'> & { readonly isDefault: 0 | 1 };

// `lastSeenAtMs` is the later of the session's own time and its newest row in the table of heartbeats.
const COLUMNS = `s.session_id AS sessionId, s.workspace_id AS workspaceId, s.incarnation, s.state,
  s.created_at_ms AS createdAtMs,
  max(s.last_seen_at_ms, coalesce(
    (SELECT max(at_ms) FROM heartbeats h WHERE h.session_id = s.session_id), 0)) AS lastSeenAtMs,
  s.display_name AS displayName, s.source_type AS sourceType, s.source_id AS sourceId, s.is_default AS isDefault,
  s.event_head AS eventHead,
  s.ended_at_ms AS endedAtMs, s.end_reason AS endReason, s.shelf`;

export function createSessions(
  database: StoreDatabase,
  events: EventTable,
  prompts: PromptTable,
): SessionTable {
  const rows = sessionRows(database);
  const changes = new SessionChanges(database, rows, { events, prompts });
  return {
    record: (workspaceId, incarnation, session) =>
      database.write(() => changes.record(workspaceId, incarnation, session)),
    rest: (sessionId, state, atMs, reason) =>
      database.write(() => changes.rest(sessionId, state, atMs, reason)),
    setHead: (sessionId, head) =>
      database.write(() => {
        rows.setHead.run({ sessionId, head });
      }),
    shelve: ({ sessionId, shelf, displayName = null }) =>
      database.write(() => {
        rows.shelve.run({ sessionId, shelf, displayName });
      }),
    moveAllOf(incarnation, atMs, event, reason) {
      const state = nextState('live', event);
      if (state === undefined || state === 'live') return [];
      const ids = rows.liveOf.all({ incarnation }).map(({ sessionId }) => sessionId);
      for (const sessionId of ids) changes.rest(sessionId, state, atMs, reason);
      return ids.map((sessionId) => ({ sessionId, state }));
    },
    get: rows.find,
    ...sessionQueries(database),
  };
}

/** The changes of a session's row, each with its event row. Every method runs inside a transaction of its caller. */
class SessionChanges {
  readonly #rows: ReturnType<typeof sessionRows>;
  readonly #events: EventTable;
  readonly #prompts: PromptTable;
  readonly #replaceClients: ReturnType<typeof clientWriter>;

  constructor(
    database: StoreDatabase,
    rows: ReturnType<typeof sessionRows>,
    tables: { readonly events: EventTable; readonly prompts: PromptTable },
  ) {
    this.#rows = rows;
    this.#events = tables.events;
    this.#prompts = tables.prompts;
    this.#replaceClients = clientWriter(database);
  }

  /** Records a session of any daemon. @returns the state in which the session is stored. */
  record(workspaceId: string, incarnation: string, session: FeedSession): SessionState {
    const isLate = this.#rows.daemonOf.get({ incarnation })?.state === 'ended';
    return isLate
      ? this.#recordLate(workspaceId, incarnation, session)
      : this.#recordLive(workspaceId, incarnation, session);
  }

  #recordLive(workspaceId: string, incarnation: string, session: FeedSession): SessionState {
    const { sessionId } = session;
    const before = this.#rows.find(sessionId);
    this.#rows.upsert.run(columnsOf(workspaceId, incarnation, session));
    this.#replaceClients(sessionId, session.clients);
    const kind = changeKind(before, incarnation);
    if (kind !== undefined) this.#events.add({ kind, workspaceId, incarnation, sessionId });
    return 'live';
  }

  /**
   * Records a session of a daemon that has ended already. The client may know the session's id, so a row must exist: dormant when
   * the agent can load the session, else closed. An existing row stays as it is: `moveAllOf` moved it when the daemon ended, or a
   * newer daemon has the session by now.
   */
  #recordLate(workspaceId: string, incarnation: string, session: FeedSession): SessionState {
    const known = this.#rows.find(session.sessionId);
    if (known !== undefined) return known.state;
    this.#recordLive(workspaceId, incarnation, session);
    const state = this.#rows.daemonOf.get({ incarnation })?.canLoad === 1 ? 'dormant' : 'closed';
    this.rest(session.sessionId, state, session.lastSeenAtMs, 'daemon_ended');
    return state;
  }

  /** Moves one session to `state`. Settles its prompts only when it is closed; otherwise its restore will report them as lost. */
  rest(id: string, state: Exclude<SessionState, 'live'>, atMs: number, reason: string): void {
    const outcome = reason === '' ? 'session_closed' : reason;
    const row = this.#rows.find(id);
    if (row === undefined) return;
    const { sessionId, workspaceId, incarnation } = row;
    if (state === 'closed') this.#prompts.settleAll(sessionId, atMs, outcome);
    if (row.state === 'closed' || row.state === state) return;
    this.#rows.rest.run({ sessionId, state, atMs, reason: outcome });
    this.#events.add({
      kind: `session_${state}`,
      workspaceId,
      incarnation,
      sessionId,
      detail: { reason: outcome, atMs },
    });
  }
}

function sessionRows(database: StoreDatabase) {
  const find = database.prepare<{ key: string; capitals: string }, StoredSession>(
    // Looks for a UUID in small letters and in capitals: clients use either, and some agents write capitals.
    `SELECT ${COLUMNS} FROM sessions s WHERE s.session_id IN (@key, @capitals)`,
  );
  return {
    find(sessionId: string): SessionRow | undefined {
      const capitals = isUuid(sessionId) ? sessionId.toUpperCase() : sessionId;
      const row = find.get({ key: sessionKey(sessionId), capitals });
      return row === undefined ? undefined : toRow(row);
    },
    daemonOf: database.prepare<{ incarnation: string }, { state: string; canLoad: 0 | 1 | null }>(
      'SELECT state, can_load AS canLoad FROM daemons WHERE incarnation = @incarnation',
    ),
    liveOf: database.prepare<{ incarnation: string }, { sessionId: string }>(
      `SELECT session_id AS sessionId FROM sessions WHERE incarnation = @incarnation AND state = 'live'`,
    ),
    // `created_at_ms` keeps the earliest time, because a daemon that loads the session later reports a later one.
    upsert: database.prepare<Record<string, unknown>>(
      `INSERT INTO sessions (session_id, workspace_id, incarnation, state, created_at_ms, last_seen_at_ms,
         display_name, source_type, source_id, is_default, event_head)
       VALUES (@sessionId, @workspaceId, @incarnation, 'live', @createdAtMs, @lastSeenAtMs,
         @displayName, @sourceType, @sourceId, @isDefault, @eventHead)
       ON CONFLICT (session_id) DO UPDATE SET
         workspace_id = excluded.workspace_id, incarnation = excluded.incarnation, state = 'live',
         created_at_ms = min(created_at_ms, excluded.created_at_ms),
         last_seen_at_ms = max(last_seen_at_ms, excluded.last_seen_at_ms),
         display_name = excluded.display_name, source_type = excluded.source_type,
         source_id = excluded.source_id, is_default = excluded.is_default,
         event_head = max(event_head, excluded.event_head),
         ended_at_ms = NULL, end_reason = NULL, shelf = 'active'`,
    ),
    rest: database.prepare<{ sessionId: string; state: SessionState; atMs: number; reason: string }>(
      `UPDATE sessions SET state = @state, ended_at_ms = @atMs, end_reason = @reason
       WHERE session_id = @sessionId`,
    ),
    setHead: database.prepare<{ sessionId: string; head: number }>(
      'UPDATE sessions SET event_head = max(event_head, @head) WHERE session_id = @sessionId',
    ),
    shelve: database.prepare<{ sessionId: string; shelf: Shelf; displayName: string | null }>(
      `UPDATE sessions SET shelf = @shelf, display_name = coalesce(@displayName, display_name)
       WHERE session_id = @sessionId`,
    ),
  };
}

/** Makes a function that replaces all clients of a session: a feed record of a session always lists all of its clients. */
function clientWriter(database: StoreDatabase) {
  const forget = database.prepare<{ sessionId: string }>(
    'DELETE FROM session_clients WHERE session_id = @sessionId',
  );
  const insert = database.prepare<FeedClient & { sessionId: string }>(
    `INSERT INTO session_clients (session_id, client_id, count, last_seen_at_ms)
     VALUES (@sessionId, @clientId, @count, @lastSeenAtMs)`,
  );
  // Every attach may mint a client id: without this deletion a long session would keep heartbeats of all ids that it ever had.
  const forgetHeartbeats = database.prepare<{ sessionId: string }>(
    `DELETE FROM heartbeats WHERE session_id = @sessionId AND client_id <> ''
       AND client_id NOT IN (SELECT client_id FROM session_clients WHERE session_id = @sessionId)`,
  );
  return (sessionId: string, clients: readonly FeedClient[]): void => {
    forget.run({ sessionId });
    for (const { clientId, count, lastSeenAtMs } of clients)
      insert.run({ sessionId, clientId, count, lastSeenAtMs });
    forgetHeartbeats.run({ sessionId });
  };
}

function sessionQueries(
  database: StoreDatabase,
): Pick<Sessions, 'clients' | 'live' | 'newest' | 'open' | 'countLive'> {
  const clients = database.prepare<{ sessionId: string }, FeedClient>(
    `SELECT c.client_id AS clientId, c.count, max(c.last_seen_at_ms, coalesce(h.at_ms, 0)) AS lastSeenAtMs
     FROM session_clients c LEFT JOIN heartbeats h USING (session_id, client_id)
     WHERE c.session_id = @sessionId ORDER BY c.client_id`,
  );
  const live = database.prepare<object, StoredSession>(
    `SELECT ${COLUMNS} FROM sessions s WHERE s.state = 'live' ORDER BY s.created_at_ms, s.session_id`,
  );
  const liveIn = database.prepare<{ workspaceId: string }, StoredSession>(
    `SELECT ${COLUMNS} FROM sessions s WHERE s.workspace_id = @workspaceId AND s.state = 'live'
     ORDER BY s.created_at_ms, s.session_id`,
  );
  const newest = database.prepare<{ workspaceId: string; limit: number }, StoredSession>(
    `SELECT ${COLUMNS} FROM sessions s WHERE s.workspace_id = @workspaceId AND (s.shelf <> 'gone' OR s.state <> 'closed')
     ORDER BY s.created_at_ms DESC, s.session_id LIMIT @limit`,
  );
  const open = database.prepare<object, StoredSession>(
    `SELECT ${COLUMNS} FROM sessions s WHERE s.state <> 'closed' ORDER BY s.created_at_ms, s.session_id`,
  );
  const openIn = database.prepare<{ workspaceId: string }, StoredSession>(
    `SELECT ${COLUMNS} FROM sessions s WHERE s.workspace_id = @workspaceId AND s.state <> 'closed'
     ORDER BY s.created_at_ms, s.session_id`,
  );
  const countAll = database.prepare<object, { total: number }>(
    `SELECT count(*) AS total FROM sessions WHERE state <> 'closed' AND state <> 'dormant'`,
  );
  const countIn = database.prepare<{ workspaceId: string }, { total: number }>(
    `SELECT count(*) AS total FROM sessions
     WHERE workspace_id = @workspaceId AND state <> 'closed' AND state <> 'dormant'`,
  );
  return {
    clients: (sessionId) => clients.all({ sessionId }),
    live: (workspaceId) =>
      (workspaceId === undefined ? live.all({}) : liveIn.all({ workspaceId })).map(toRow),
    newest: (workspaceId, limit) => newest.all({ workspaceId, limit }).map(toRow),
    open: (workspaceId) =>
      (workspaceId === undefined ? open.all({}) : openIn.all({ workspaceId })).map(toRow),
    countLive: (workspaceId) =>
      (workspaceId === undefined ? countAll.get({}) : countIn.get({ workspaceId }))?.total ?? 0,
  };
}

/** Kind of the event row for a recorded session; undefined when the record only refreshes a live session. */
function changeKind(before: SessionRow | undefined, incarnation: string): string | undefined {
  if (before === undefined) return 'session_opened';
  if (before.state !== 'live') return before.state === 'closed' ? 'session_reopened' : 'session_restored';
  return before.incarnation === incarnation ? undefined : 'session_moved';
}

function columnsOf(workspaceId: string, incarnation: string, session: FeedSession): Record<string, unknown> {
  return {
    sessionId: session.sessionId,
    workspaceId,
    incarnation,
    createdAtMs: session.createdAtMs,
    lastSeenAtMs: session.lastSeenAtMs,
    displayName: session.displayName ?? null,
    sourceType: session.sourceType ?? null,
    sourceId: session.sourceId ?? null,
    isDefault: session.isDefault ? 1 : 0,
    eventHead: session.eventHead,
  };
}

function toRow(stored: StoredSession): SessionRow {
  return { ...stored, isDefault: stored.isDefault === 1 };
}
