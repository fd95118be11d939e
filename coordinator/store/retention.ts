// Deletes old rows from the database: by age and by number, oldest first, in small batches so that no request waits. Sessions
// that are not closed, unsettled prompts, unended daemons and the newest daemon of each workspace are never deleted.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../daemon/contract/clock.ts';
import type { Rows, StoreDatabase } from './database.ts';

export interface RetentionSettings {
  /** Age above which closed sessions, settled prompts, ended daemons and events are deleted. */
  readonly maxAgeMs: number;
  readonly maxClosedSessions: number;
  readonly maxSettledPrompts: number;
  readonly maxEndedDaemons: number;
  /** Limit for the events of sessions and prompts, and again for all other events. */
  readonly maxEvents: number;
}

export const DAY_MS = 24 * 60 * 60 * 1000;

export const DEFAULT_RETENTION: RetentionSettings = Object.freeze({
  maxAgeMs: 30 * DAY_MS,
  maxClosedSessions: 100_000,
  maxSettledPrompts: 500_000,
  maxEndedDaemons: 10_000,
  maxEvents: 50_000,
});

/** Most rows that one transaction deletes: at most a few milliseconds, because it blocks the event loop. */
const BATCH_ROWS = 100;

/** What one transaction may delete. */
interface Batch {
  /** Epoch ms: older rows are deleted. */
  readonly beforeMs: number;
  /** Number of rows above the limit: that many of the oldest rows are deleted. */
  readonly surplus: number;
  /** Most rows that are deleted. */
  readonly rows: number;
}

/** The retention of one kind of rows. */
interface Rule {
  readonly max: number;
  /** Number of rows that the rule may delete. */
  readonly count: () => number;
  /** Deletes one batch. Returns how many rows were deleted. */
  readonly prune: (batch: Batch) => number;
}

export interface Retention {
  /** Deletes all rows that are too old or too many, yielding after each batch. Resolves with the number of deleted rows. */
  run(): Promise<number>;
}

export function createRetention(
  database: StoreDatabase,
  clock: Clock,
  settings: RetentionSettings,
): Retention {
  const rules = rulesOf(database, settings);
  return {
    async run() {
      let total = 0;
      for (const rule of rules) total += await apply(database, rule, clock.nowMs() - settings.maxAgeMs);
      return total;
    },
  };
}

async function apply(database: StoreDatabase, rule: Rule, beforeMs: number): Promise<number> {
  let surplus = Math.max(0, rule.count() - rule.max);
  let total = 0;
  for (;;) {
    // Without a wait for the disk: a power loss may bring a deleted row back, which is harmless.
    const pruned = database.writeRelaxed(() => rule.prune({ beforeMs, surplus, rows: BATCH_ROWS }));
    total += pruned;
    surplus = Math.max(0, surplus - pruned);
    await nextTurn();
    if (pruned === 0) return total;
  }
}

function rulesOf(database: StoreDatabase, settings: RetentionSettings): readonly Rule[] {
  return [
    sessionRule(database, settings.maxClosedSessions),
    rowRule(database, settings.maxSettledPrompts, {
      table: 'prompts',
      key: 'prompt_id',
      isDisposable: 'settled_at_ms IS NOT NULL',
      atColumn: 'settled_at_ms',
    }),
    rowRule(database, settings.maxEndedDaemons, {
      table: 'daemons',
      key: 'id',
      isDisposable: FREE_DAEMON,
      atColumn: 'ended_at_ms',
    }),
    eventRule(database, settings.maxEvents, 1),
    eventRule(database, settings.maxEvents, 0),
  ];
}

/** SQL condition for ended daemons without sessions, except the newest of a workspace, which says how the last daemon ended. */
const FREE_DAEMON = `state = 'ended'
  AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.incarnation = daemons.incarnation)
  AND id < (SELECT max(n.id) FROM daemons n WHERE n.workspace_id = daemons.workspace_id)`;

/** The rows of one table that may be deleted without regard to other tables. */
interface DisposableRows {
  readonly table: string;
  readonly key: string;
  /** SQL condition for a row that may be deleted. */
  readonly isDisposable: string;
  /** Column with the time, in epoch ms, since which a row may be deleted. */
  readonly atColumn: string;
}

function rowRule(database: StoreDatabase, max: number, rows: DisposableRows): Rule {
  const { table, key, isDisposable, atColumn } = rows;
  const count = database.prepare<object, { total: number }>(
    `SELECT count(*) AS total FROM ${table} WHERE ${isDisposable}`,
  );
  const byAge = database.prepare<Batch>(
    `DELETE FROM ${table} WHERE ${key} IN
       (SELECT ${key} FROM ${table} WHERE ${isDisposable} AND ${atColumn} < @beforeMs ORDER BY ${atColumn} LIMIT @rows)`,
  );
  const byNumber = database.prepare<Batch>(
    `DELETE FROM ${table} WHERE ${key} IN
       (SELECT ${key} FROM ${table} WHERE ${isDisposable} ORDER BY ${atColumn} LIMIT min(@rows, @surplus))`,
  );
  return deletionRule(max, { count, byAge, byNumber });
}

/** The rule for closed sessions. A session is deleted with its clients (by the foreign key) and its heartbeats. */
function sessionRule(database: StoreDatabase, max: number): Rule {
  const count = database.prepare<object, { total: number }>(
    `SELECT count(*) AS total FROM sessions WHERE state = 'closed'`,
  );
  const byAge = database.prepare<Batch, { sessionId: string }>(
    `SELECT session_id AS sessionId FROM sessions WHERE state = 'closed' AND ended_at_ms < @beforeMs
     ORDER BY ended_at_ms LIMIT @rows`,
  );
  const byNumber = database.prepare<Batch, { sessionId: string }>(
    `SELECT session_id AS sessionId FROM sessions WHERE state = 'closed'
     ORDER BY ended_at_ms LIMIT min(@rows, @surplus)`,
  );
  const heartbeats = database.prepare<{ sessionId: string }>(
    'DELETE FROM heartbeats WHERE session_id = @sessionId',
  );
  const session = database.prepare<{ sessionId: string }>(
    'DELETE FROM sessions WHERE session_id = @sessionId',
  );
  return {
    max,
    count: () => count.get({})?.total ?? 0,
    prune(batch) {
      const old = byAge.all(batch);
      const due = old.length > 0 || batch.surplus === 0 ? old : byNumber.all(batch);
      for (const { sessionId } of due) {
        heartbeats.run({ sessionId });
        session.run({ sessionId });
      }
      return due.length;
    },
  };
}

/**
 * The rule for events of sessions and prompts (`isRoutine` 1), or for all other events. Ids are in order of time, so only the
 * lowest ids are looked at. The newest event is never deleted: in an empty table ids would begin again at 1.
 */
function eventRule(database: StoreDatabase, max: number, isRoutine: 0 | 1): Rule {
  const oldest = `SELECT id FROM events WHERE is_routine = ${isRoutine} AND id < (SELECT max(id) FROM events)`;
  const count = database.prepare<object, { total: number }>(
    `SELECT count(*) AS total FROM events WHERE is_routine = ${isRoutine}`,
  );
  const byAge = database.prepare<Batch>(
    `DELETE FROM events WHERE at_ms < @beforeMs AND id IN (${oldest} ORDER BY id LIMIT @rows)`,
  );
  const byNumber = database.prepare<Batch>(
    `DELETE FROM events WHERE id IN (${oldest} ORDER BY id LIMIT min(@rows, @surplus))`,
  );
  return deletionRule(max, { count, byAge, byNumber });
}

/** The SQL of a rule that deletes rows by single statements. */
interface DeletionStatements {
  readonly count: Rows<object, { total: number }>;
  /** Deletes rows that are older than `beforeMs`. */
  readonly byAge: Rows<Batch, unknown>;
  /** Deletes the `surplus` oldest rows. */
  readonly byNumber: Rows<Batch, unknown>;
}

function deletionRule(max: number, { count, byAge, byNumber }: DeletionStatements): Rule {
  return {
    max,
    count: () => count.get({})?.total ?? 0,
    prune: (batch) => byAge.run(batch).changes || (batch.surplus > 0 ? byNumber.run(batch).changes : 0),
  };
}
