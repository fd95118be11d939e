// The real store on a scratch database, with writes that can be made to fail and rows that can be looked at. Real SQL, so
// that no test holds a second opinion on what the store does.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from '@jest/globals';
import { openSqlite, type Sqlite } from '../../coordinator/store/driver.ts';
import { openStore } from '../../coordinator/store/open.ts';
import type { DaemonRow, EventRow, SeenEntry, Store } from '../../coordinator/store/store.ts';
import { fail } from '../../daemon/contract/errors.ts';
import { createLog } from '../../daemon/contract/log.ts';
import { memoryHandle } from './memory-launcher.ts';

// In memory where that is to be had: nobody here waits for a disk.
const scratch = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'qf-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let count = 0;

const STILL = {
  nowMs: () => 0,
  monotonicMs: () => 0,
  after: () => ({ cancel: () => undefined }),
  every: () => ({ cancel: () => undefined }),
};

export class FakeStore implements Store {
  readonly #store: Store;
  readonly #sql: Sqlite;
  /** Names of the writes that are refused with 507, such as `sessions.record`. */
  readonly refused = new Set<string>();
  /** Batches that `heartbeats.flush` has taken. */
  readonly seenBatches: (readonly SeenEntry[])[] = [];
  readonly workspaces: Store['workspaces'];
  readonly daemons: Store['daemons'];
  readonly sessions: Store['sessions'];
  readonly prompts: Store['prompts'];
  readonly heartbeats: Store['heartbeats'];
  readonly events: Store['events'];

  constructor() {
    count += 1;
    const path = join(scratch, `${count}.db`);
    this.#store = openStore({ path, clock: STILL, log: createLog('test', 'silent') });
    this.#sql = openSqlite(path);
    this.workspaces = this.#refusing('workspaces');
    this.daemons = this.#refusing('daemons');
    this.sessions = this.#refusing('sessions');
    this.prompts = this.#refusing('prompts');
    this.events = this.#refusing('events');
    const heartbeats = this.#refusing('heartbeats');
    this.heartbeats = {
      flush: (entries, maxRows) => {
        const left = heartbeats.flush(entries, maxRows);
        this.seenBatches.push(entries);
        return left;
      },
    };
  }

  get eventRows(): readonly EventRow[] {
    return [...this.#store.events.recent({ limit: 1000 })].reverse();
  }

  readonly daemonRows = {
    get: (incarnation: string): DaemonRow | undefined => {
      const workspaceId = incarnation.slice(0, incarnation.lastIndexOf('-'));
      const unended = this.#store.daemons.unended().find((row) => row.incarnation === incarnation);
      const latest = this.#store.daemons.latest(workspaceId);
      return unended ?? (latest?.incarnation === incarnation ? latest : undefined);
    },
  };

  /** Makes a daemon row as an earlier coordinator may have left it. */
  addDaemon(row: Partial<DaemonRow> & Pick<DaemonRow, 'incarnation' | 'workspaceId'>): void {
    const started = Number(row.incarnation.split('-').at(-1));
    for (let n = 0; n < started; n++) this.#store.daemons.nextIncarnation(row.workspaceId);
    const { incarnation, workspaceId } = row;
    const whole = {
      launchHandle: memoryHandle(incarnation),
      address: JSON.stringify({ kind: 'tcp', host: 'earlier.invalid', port: 1 }),
      secret: 'secret',
      createdAtMs: 0,
      startDeadlineAtMs: 0,
      version: null,
      state: 'ready',
      canLoad: null,
      ...row,
    };
    const { launchHandle, address, secret, createdAtMs, startDeadlineAtMs, version, state, canLoad } = whole;
    const starting = { incarnation, workspaceId, launchHandle, secret };
    const isKnown =
      this.#sql.prepare('SELECT 1 FROM daemons WHERE incarnation = ?').get(incarnation) !== undefined;
    if (!isKnown) this.#store.daemons.insertStarting({ ...starting, createdAtMs, startDeadlineAtMs });
    this.#sql
      .prepare(
        `UPDATE daemons SET launch_handle = ?, address = ?, version = ?, state = ?, can_load = ?, start_deadline_at_ms = ?
         WHERE incarnation = ?`,
      )
      .run(launchHandle, address, version, state, canLoad, startDeadlineAtMs, incarnation);
  }

  transaction<T>(work: () => T): T {
    return this.#store.transaction(work);
  }

  facts(): ReturnType<Store['facts']> {
    return this.#store.facts();
  }

  upkeep(...given: Parameters<Store['upkeep']>): ReturnType<Store['upkeep']> {
    return this.#store.upkeep(...given);
  }

  backup(...given: Parameters<Store['backup']>): ReturnType<Store['backup']> {
    return this.#store.backup(...given);
  }

  close(): void {
    this.#sql.close();
    this.#store.close();
  }

  /** The noun with its refused methods throwing. */
  #refusing<N extends 'workspaces' | 'daemons' | 'sessions' | 'prompts' | 'heartbeats' | 'events'>(
    noun: N,
  ): Store[N] {
    return new Proxy(this.#store[noun], {
      get: (target, method) => {
        const value = Reflect.get(target, method) as unknown;
        if (typeof value !== 'function') return value;
        return (...given: unknown[]) => {
          const name = `${noun}.${String(method)}`;
          if (this.refused.has(name)) throw fail('storage_unavailable', `the test refuses ${name}`);
          return Reflect.apply(value, target, given) as unknown;
        };
      },
    });
  }
}
