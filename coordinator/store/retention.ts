// What the database deletes, and when: by age and by number, oldest first, a few rows at a time so that no request waits.
// Rows of what is alive are never deleted: live and resting sessions, unsettled prompts, unended daemons, and the newest daemon
// of each workspace.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../daemon/contract/clock.ts';
import type { Rows, StoreDatabase } from './database.ts';

export interface RetentionSettings {
  /** Age at which closed sessions, settled prompts, ended daemons and events go. */
  readonly maxAgeMs: number;
  readonly maxClosedSessions: number;
  readonly maxSettledPrompts: number;
  readonly maxEndedDaemons: number;
  /** Events that are kept of sessions and prompts, and again of everything else. */
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

/** Rows of one transaction: at most a few milliseconds, whatever else the disk does. */
const BATCH_ROWS = 100;

/** Rows that may be deleted now: those that are too old, and the oldest of those that are too many. */
interface Batch {
  readonly beforeMs: number;
  readonly surplus: number;
  readonly rows: number;
}

interface Rule {
  readonly max: number;
  /** How many rows the rule is about. */
  readonly count: () => number;
  /** Deletes at most `rows`; returns how many. */
  readonly prune: (batch: Batch) => number;
}

export interface Retention {
  /** Forgets what is due, batch by batch with a turn of the event loop between; resolves with the number of rows. */
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
    // A power loss may bring a pruned row back, which is harmless: no wait for the disk.
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

/** Rows of ended daemons that no session refers to, except the newest of a workspace, which says how the last daemon ended. */
const FREE_DAEMON = `state = 'ended'
  AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.incarnation = daemons.incarnation)
  AND id < (SELECT max(n.id) FROM daemons n WHERE n.workspace_id = daemons.workspace_id)`;

/** The rows of one table that may be deleted, each by itself. */
interface DisposableRows {
  readonly table: string;
  readonly key: string;
  /** An SQL condition. */
  readonly isDisposable: string;
  /** Since when a row is disposable, in epoch ms. */
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

/** A session is deleted with its clients (by the foreign key) and its heartbeats. */
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
 * Events are in the order of their ids, so the oldest are at the front and one look at the front decides. The newest event of
 * all stays: if the table were ever empty, ids would begin again.
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

interface DeletionStatements {
  readonly count: Rows<object, { total: number }>;
  /** Deletes the rows that are too old. */
  readonly byAge: Rows<Batch, unknown>;
  /** Deletes the oldest of the rows that are too many. */
  readonly byNumber: Rows<Batch, unknown>;
}

function deletionRule(max: number, { count, byAge, byNumber }: DeletionStatements): Rule {
  return {
    max,
    count: () => count.get({})?.total ?? 0,
    prune: (batch) => byAge.run(batch).changes || (batch.surplus > 0 ? byNumber.run(batch).changes : 0),
  };
}
