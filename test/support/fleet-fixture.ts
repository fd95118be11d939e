// A supervisor over fakes, and feeds that a test drives by hand.

import type { DaemonLink } from '../../coordinator/supervise/daemon/link.ts';
import type { FeedSink, FollowedFeed } from '../../coordinator/supervise/feed/follower.ts';
import type { WorkspaceKey } from '../../coordinator/supervise/fleet.ts';
import { createEventJournal } from '../../coordinator/supervise/records/event-journal.ts';
import { createSessionRecorder } from '../../coordinator/supervise/records/session-recorder.ts';
import { RestorableWorkspaces } from '../../coordinator/supervise/restorable-workspaces.ts';
import { DEFAULT_SUPERVISE_SETTINGS, type SuperviseSettings } from '../../coordinator/supervise/settings.ts';
import { createSupervisor } from '../../coordinator/supervise/supervisor/supervisor.ts';
import type { Endpoint } from '../../coordinator/upstream/endpoint.ts';
import type { FeedBeat, FeedBody, FeedSession } from '../../daemon/contract/feed.ts';
import { DEFAULT_LIMITS } from '../../daemon/contract/limits.ts';
import { createLog } from '../../daemon/contract/log.ts';
import { FakeStore } from './fake-store.ts';
import { ManualClock } from './manual-clock.ts';
import { MemoryLauncher } from './memory-launcher.ts';

export const silentLog = createLog('test', 'silent');

export const WORKSPACE: WorkspaceKey = { id: '00000000000000aa', path: '/projects/a' };
export const OTHER_WORKSPACE: WorkspaceKey = { id: '00000000000000bb', path: '/projects/b' };

export const BEAT: FeedBeat = {
  atMs: 5,
  rssBytes: 1,
  agentRssBytes: 1,
  sessions: 0,
  activePrompts: 0,
  queuedPrompts: 0,
  pendingPermissions: 0,
  heldSessions: 0,
  subscribers: 0,
  lastActivityAtMs: null,
};

export function sessionOf(sessionId: string): FeedSession {
  const clients = [{ clientId: 'c1', count: 1, lastSeenAtMs: 2 }];
  return {
    sessionId,
    workspaceCwd: '/projects/a',
    createdAtMs: 1,
    lastSeenAtMs: 2,
    clients,
    isDefault: false,
    eventHead: 0,
  };
}

type Snapshot = Extract<FeedBody, { type: 'snapshot' }>;

export function snapshotOf(incarnation: string, parts: Partial<Snapshot> = {}): Snapshot {
  return {
    type: 'snapshot',
    contract: 1,
    incarnation,
    version: '1.0.0',
    sessions: [],
    prompts: [],
    openPermissions: [],
    agent: null,
    ended: [],
    beat: BEAT,
    ...parts,
  };
}

export class FakeFeed implements FollowedFeed {
  isUp = false;
  readonly refusal = undefined;
  isClosed = false;
  readonly reconnects: string[] = [];
  readonly target: Endpoint;
  readonly #sink: FeedSink;
  #seq = 0;

  constructor(target: Endpoint, sink: FeedSink) {
    this.target = target;
    this.#sink = sink;
  }

  sync(parts: Partial<Snapshot> = {}): void {
    this.say(snapshotOf(this.target.incarnation, parts));
    this.isUp = true;
    this.#sink.up();
  }

  say(body: FeedBody): void {
    this.#seq += 1;
    this.#sink.record({ ...body, seq: this.#seq });
  }

  stored(seq: number): Promise<boolean> {
    return Promise.resolve(!this.isClosed && seq <= this.#seq);
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  reconnect(why: string): void {
    this.reconnects.push(why);
  }

  close(): void {
    this.isClosed = true;
    this.isUp = false;
  }
}

/** What a test may put in place of the fixture's own. */
export interface FleetParts extends Partial<DaemonLink> {
  readonly clock?: ManualClock;
  readonly launcher?: MemoryLauncher;
  readonly restorable?: RestorableWorkspaces;
}

export function fleetFixture(
  settings: Partial<SuperviseSettings> = {},
  {
    clock = new ManualClock(),
    launcher = new MemoryLauncher(),
    restorable = new RestorableWorkspaces(),
    ...link
  }: FleetParts = {},
  store = new FakeStore(),
) {
  const feeds: FakeFeed[] = [];
  const all = { ...DEFAULT_SUPERVISE_SETTINGS, ...settings };
  const recorder = createSessionRecorder({ store, clock, log: silentLog, settings: all });
  for (const { id, path } of [WORKSPACE, OTHER_WORKSPACE])
    store.workspaces.upsert({ id, path, displayName: null, origin: 'static', createdAtMs: 0 });
  launcher.isCommitted = (handle) =>
    store.daemons
      .unended()
      .some(({ state, launchHandle }) => state === 'starting' && launchHandle === handle);
  const supervisor = createSupervisor({
    store,
    launcher,
    link: {
      followFeed: (target, sink) => {
        const feed = new FakeFeed(target, sink);
        feeds.push(feed);
        return feed;
      },
      askIdentity: () => Promise.resolve(undefined),
      release: () => Promise.resolve(true),
      endStreams: () => {},
      ...link,
    },
    records: {
      recorder,
      journal: createEventJournal({ store, clock, log: silentLog }),
      restorable,
    },
    bridge: {
      agent: 'demo',
      permissionPolicy: 'first-responder',
      consensusQuorum: null,
      rateLimit: false,
      limits: DEFAULT_LIMITS,
      logLevel: 'info',
    },
    clock,
    log: silentLog,
    settings: all,
    random: () => 0,
  });
  return { clock, launcher, feeds, recorder, store, supervisor, settings: all };
}

/** A signal that nobody aborts. */
export const stays = new AbortController().signal;
