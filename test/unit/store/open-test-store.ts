// A store on a fresh file, with a clock that stands still unless it is moved.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDatabase } from '../../../coordinator/store/database.ts';
import { storeOn } from '../../../coordinator/store/open.ts';
import { DEFAULT_RETENTION, type RetentionSettings } from '../../../coordinator/store/retention.ts';
import type { Store } from '../../../coordinator/store/store.ts';
import { type Clock, systemClock } from '../../../daemon/contract/clock.ts';
import type { FeedPrompt, FeedSession } from '../../../daemon/contract/feed.ts';
import { createLog } from '../../../daemon/contract/log.ts';

export const silent = createLog('test', 'silent');
export const WS = '0123456789abcdef';

export function tempDir(): { dir: string; remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), 'qc-store-'));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

export function openTestStore(
  dir: string,
  { keep = 1000, path = join(dir, 'state.db'), retention = {} as Partial<RetentionSettings> } = {},
) {
  const time = { nowMs: 1_000_000 };
  const clock: Clock = { ...systemClock, nowMs: () => time.nowMs };
  const database = openDatabase(path, silent);
  return {
    store: storeOn(database, clock, { ...DEFAULT_RETENTION, maxEvents: keep, ...retention }),
    database,
    time,
  };
}

export function startDaemon(store: Store, workspaceId = WS): string {
  const incarnation = store.daemons.nextIncarnation(workspaceId);
  store.daemons.insertStarting({
    incarnation,
    workspaceId,
    launchHandle: '{"kind":"test","version":1}',
    secret: 's3cret',
    createdAtMs: 1,
    startDeadlineAtMs: 2,
  });
  return incarnation;
}

export function aSession(sessionId: string, more: Partial<FeedSession> = {}): FeedSession {
  return {
    sessionId,
    workspaceCwd: '/project',
    createdAtMs: 10,
    lastSeenAtMs: 20,
    clients: [],
    isDefault: false,
    eventHead: 0,
    ...more,
  };
}

export function aPrompt(promptId: string, more: Partial<FeedPrompt> = {}): FeedPrompt {
  return { promptId, sessionId: 's1', state: 'queued', atMs: 100, ...more };
}

export const anEnd: Parameters<Store['daemons']['setEnded']>[1] = {
  atMs: 500,
  code: 1,
  signal: null,
  reason: 'crashed',
  kind: 'died',
};

export function kinds(store: Store): string[] {
  return store.events.recent({ limit: 1000 }).map(({ kind }) => kind);
}
