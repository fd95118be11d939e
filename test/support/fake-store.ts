// The store in memory, for tests that are not about SQL. Every write can be made to fail.

import type {
  DaemonRow,
  EventRow,
  PromptRow,
  SeenEntry,
  SessionRow,
  Store,
  WorkspaceRow,
} from '../../coordinator/store/store.ts';
import { fail } from '../../daemon/contract/errors.ts';
import type { FeedPrompt, FeedSession } from '../../daemon/contract/feed.ts';
import { sessionKey } from '../../daemon/contract/wire.ts';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

export class FakeStore implements Store {
  readonly workspaceRows = new Map<string, WorkspaceRow>();
  readonly daemonRows = new Map<string, Writable<DaemonRow>>();
  readonly sessionRows = new Map<string, Writable<SessionRow>>();
  readonly sessionClients = new Map<string, FeedSession['clients']>();
  readonly promptRows = new Map<string, PromptRow>();
  readonly eventRows: EventRow[] = [];
  /** Batches that `heartbeats.flush` has taken. */
  readonly seenBatches: (readonly SeenEntry[])[] = [];
  /** Names of the writes that are refused with 507, such as `sessions.record`. */
  readonly refused = new Set<string>();
  readonly #starts = new Map<string, number>();

  readonly workspaces: Store['workspaces'] = {
    upsert: (row) => void this.workspaceRows.set(row.id, row),
    list: () => [...this.workspaceRows.values()],
    remove: (id) => void this.workspaceRows.delete(id),
  };

  readonly daemons: Store['daemons'] = {
    nextIncarnation: (workspaceId) => {
      const next = (this.#starts.get(workspaceId) ?? 0) + 1;
      this.#starts.set(workspaceId, next);
      return `${workspaceId}-${next}`;
    },
    insertStarting: (row) => {
      this.#write('daemons.insertStarting');
      this.addDaemon({ ...row, state: 'starting' });
    },
    setPid: (incarnation, pid, startTime) => {
      this.#write('daemons.setPid');
      Object.assign(this.#daemon(incarnation), { pid, startTime });
    },
    setReady: (incarnation, version) => {
      this.#write('daemons.setReady');
      Object.assign(this.#daemon(incarnation), { state: 'ready', version });
    },
    setEnded: (incarnation, end) => {
      this.#write('daemons.setEnded');
      Object.assign(this.#daemon(incarnation), {
        state: 'ended',
        endedAtMs: end.atMs,
        exitCode: end.code,
        exitSignal: end.signal,
        endReason: end.reason,
      });
      const open = this.sessions.live().filter((row) => row.incarnation === incarnation);
      for (const { sessionId } of open) this.sessions.close(sessionId, end.atMs, end.sessionReason);
      return open.map(({ sessionId }) => sessionId);
    },
    unended: () => [...this.daemonRows.values()].filter(({ state }) => state !== 'ended'),
    latest: (workspaceId) =>
      [...this.daemonRows.values()].filter((row) => row.workspaceId === workspaceId).at(-1),
    countStarts: (workspaceId) =>
      [...this.daemonRows.values()].filter((row) => row.workspaceId === workspaceId).length,
  };

  readonly sessions: Store['sessions'] = {
    record: (workspaceId, incarnation, session) => {
      this.#write('sessions.record');
      this.sessionClients.set(sessionKey(session.sessionId), session.clients);
      this.sessionRows.set(sessionKey(session.sessionId), {
        sessionId: session.sessionId,
        workspaceId,
        incarnation,
        state: 'live',
        createdAtMs: session.createdAtMs,
        lastSeenAtMs: session.lastSeenAtMs,
        displayName: session.displayName ?? null,
        sourceType: session.sourceType ?? null,
        sourceId: session.sourceId ?? null,
        isDefault: session.isDefault,
        endedAtMs: null,
        endReason: null,
      });
    },
    close: (sessionId, endedAtMs, endReason) => {
      this.#write('sessions.close');
      const row = this.sessionRows.get(sessionKey(sessionId));
      if (row?.state === 'live') Object.assign(row, { state: 'closed', endedAtMs, endReason });
    },
    get: (sessionId) => this.sessionRows.get(sessionKey(sessionId)),
    clients: (sessionId) => this.sessionClients.get(sessionKey(sessionId)) ?? [],
    live: (workspaceId) =>
      [...this.sessionRows.values()].filter(
        (row) => row.state === 'live' && (workspaceId === undefined || row.workspaceId === workspaceId),
      ),
    countLive: (workspaceId) => this.sessions.live(workspaceId).length,
  };

  readonly prompts: Store['prompts'] = {
    record: (prompt: FeedPrompt) => {
      this.#write('prompts.record');
      const known = this.promptRows.get(prompt.promptId);
      if (known?.settledAtMs != null) return;
      const isSettled = prompt.state === 'completed' || prompt.state === 'failed';
      this.promptRows.set(prompt.promptId, {
        promptId: prompt.promptId,
        sessionId: prompt.sessionId,
        state: prompt.state,
        admittedAtMs: known?.admittedAtMs ?? prompt.atMs,
        settledAtMs: isSettled ? prompt.atMs : null,
        outcome: prompt.outcome ?? null,
      });
    },
    get: (promptId) => this.promptRows.get(promptId),
    unsettled: (sessionId) =>
      [...this.promptRows.values()].filter((row) => row.sessionId === sessionId && row.settledAtMs === null),
  };

  readonly heartbeats: Store['heartbeats'] = {
    flush: (entries, maxRows) => {
      this.#write('heartbeats.flush');
      this.seenBatches.push(entries.slice(0, maxRows));
      return Math.max(0, entries.length - maxRows);
    },
  };

  readonly events: Store['events'] = {
    append: (event) => {
      this.#write('events.append');
      this.eventRows.push({
        id: this.eventRows.length + 1,
        atMs: 0,
        kind: event.kind,
        workspaceId: event.workspaceId ?? null,
        incarnation: event.incarnation ?? null,
        sessionId: event.sessionId ?? null,
        detail: event.detail ?? {},
      });
    },
    recent: ({ workspaceId, limit }) =>
      this.eventRows
        .filter((row) => workspaceId === undefined || row.workspaceId === workspaceId)
        .slice(-limit)
        .reverse(),
  };

  /** Inserts a daemon row as an earlier coordinator may have left it. */
  addDaemon(row: Partial<DaemonRow> & Pick<DaemonRow, 'incarnation' | 'workspaceId'>): void {
    const started = Number(row.incarnation.split('-').at(-1));
    this.#starts.set(row.workspaceId, Math.max(started, this.#starts.get(row.workspaceId) ?? 0));
    this.daemonRows.set(row.incarnation, {
      state: 'ready',
      socketPath: `/run/${row.incarnation}.sock`,
      secret: 'secret',
      bootId: 'boot',
      pid: null,
      startTime: null,
      version: null,
      logPath: `/log/${row.workspaceId}.log`,
      createdAtMs: 0,
      startDeadlineAtMs: 0,
      endedAtMs: null,
      exitCode: null,
      exitSignal: null,
      endReason: null,
      ...row,
    });
  }

  transaction<T>(work: () => T): T {
    return work();
  }

  facts(): ReturnType<Store['facts']> {
    return {
      path: ':memory:',
      bytes: 0,
      walBytes: 0,
      schemaVersion: 1,
      sessions: this.sessionRows.size,
      events: this.eventRows.length,
    };
  }

  close(): void {}

  #write(name: string): void {
    if (this.refused.has(name)) throw fail('storage_unavailable', `the test refuses ${name}`);
  }

  #daemon(incarnation: string): Writable<DaemonRow> {
    const row = this.daemonRows.get(incarnation);
    if (row === undefined) throw new Error(`no daemon row ${incarnation}`);
    return row;
  }
}
