import { describe, expect, test } from '@jest/globals';
import { diagnosticsView, redacted } from '../../../coordinator/http/admin/views.ts';
import { fleetFigures } from '../../../coordinator/http/aggregate.ts';
import { fleetCapabilities, isDeep, sessionListing } from '../../../coordinator/http/views.ts';
import type { SessionRow } from '../../../coordinator/store/store.ts';
import type { DaemonView } from '../../../coordinator/supervise/fleet.ts';
import type { WorkspaceEntry } from '../../../coordinator/supervise/workspaces/registry.ts';
import type { FeedBeat } from '../../../daemon/contract/feed.ts';
import { DEFAULT_LIMITS } from '../../../daemon/contract/limits.ts';

const NOW = 1_700_000_100_000;

const BEAT: FeedBeat = {
  atMs: NOW - 2000,
  rssBytes: 10,
  agentRssBytes: 20,
  sessions: 2,
  activePrompts: 0,
  queuedPrompts: 0,
  pendingPermissions: 1,
  heldSessions: 0,
  subscribers: 3,
  lastActivityAtMs: NOW - 5000,
};

function view(overrides: Partial<DaemonView> = {}): DaemonView {
  return {
    workspace: { id: '0123456789abcdef', path: '/a' },
    state: 'ready',
    incarnation: '0123456789abcdef-1',
    pid: 7,
    version: '1',
    agent: { pid: 8, pgid: 8, startTime: 1, canLoad: true },
    lastBeat: BEAT,
    isFeedUp: true,
    waiters: 0,
    starts: 1,
    lastExit: null,
    ...overrides,
  };
}

describe('the figures of the fleet', () => {
  test('are added up over running daemons, and stopped ones are left out', () => {
    const stopped = view({ state: 'stopped', agent: null });
    const figures = fleetFigures([view(), view({ lastBeat: { ...BEAT, atMs: NOW - 9000 } }), stopped], NOW);
    expect(figures).toMatchObject({
      sessions: 4,
      pendingPermissions: 2,
      connectedClients: 6,
      activeWork: false,
      activeWorkReporting: 'full',
      activeWorkStaleMs: 9000,
      channelAlive: true,
      lastActivityAt: new Date(NOW - 5000).toISOString(),
      idleSinceMs: 5000,
    });
  });

  test('are complete for a fleet at rest', () => {
    expect(fleetFigures([], NOW)).toMatchObject({
      sessions: 0,
      activeWorkReporting: 'full',
      activeWorkStaleMs: 0,
      channelAlive: false,
      lastActivityAt: null,
      idleSinceMs: null,
    });
  });

  test('say when a daemon has not reported yet', () => {
    expect(fleetFigures([view({ lastBeat: null })], NOW).activeWorkReporting).toBe('none');
    expect(fleetFigures([view(), view({ lastBeat: null })], NOW).activeWorkReporting).toBe('partial');
  });

  test('a queued prompt is active work, and then nothing is idle', () => {
    const busy = view({ lastBeat: { ...BEAT, queuedPrompts: 1 } });
    expect(fleetFigures([busy], NOW)).toMatchObject({ activeWork: true, idleSinceMs: null });
  });

  test.each([
    ['', true],
    ['1', true],
    ['true', true],
    ['0', false],
    ['yes', false],
    [null, false],
  ])('deep=%s asks for the deep form: %s', (value, expected) => {
    expect(isDeep(value)).toBe(expected);
  });
});

/** What the views ask of the registry. */
function registry(entries: readonly WorkspaceEntry[]) {
  return { primary: () => entries.find((entry) => entry.isPrimary), list: () => entries };
}

const PRIMARY: WorkspaceEntry = {
  id: 'a'.repeat(16),
  path: '/a',
  displayName: undefined,
  isPrimary: true,
  isStatic: true,
};
const OTHER: WorkspaceEntry = {
  id: 'b'.repeat(16),
  path: '/b',
  displayName: 'B',
  isPrimary: false,
  isStatic: false,
};

describe('capabilities', () => {
  const facts = {
    version: '0.1.0',
    limits: DEFAULT_LIMITS,
    permissionPolicy: 'first-responder',
    maxTotalSessions: 0,
    isAuthRequired: false,
    isRateLimited: false,
    hasAllowedOrigins: false,
  } as const;

  test('of one workspace are those of a single-workspace server', () => {
    const shown = fleetCapabilities(facts, registry([PRIMARY])) as Record<string, unknown>;
    expect(shown).toMatchObject({
      v: 1,
      mode: 'http-bridge',
      modelServices: [],
      transports: ['rest'],
      workspaceCwd: '/a',
    });
    expect(shown.features).not.toContain('multi_workspace_sessions');
    expect(shown.features).toContain('dynamic_workspace_registration');
    expect(shown.limits).not.toHaveProperty('maxTotalSessions');
  });

  test('of several list all of them, one primary, with the caps and the tag of many', () => {
    const shown = fleetCapabilities(facts, registry([PRIMARY, OTHER])) as Record<string, unknown>;
    expect(shown.workspaces).toEqual([
      expect.objectContaining({ id: 'a'.repeat(16), cwd: '/a', primary: true, removable: false }),
      expect.objectContaining({ cwd: '/b', displayName: 'B', primary: false, removable: true }),
    ]);
    expect(shown.features).toContain('multi_workspace_sessions');
    expect(shown.limits).toMatchObject({ maxSessionsPerWorkspace: 32, maxTotalSessions: null });
  });

  test('follow the settings that clients must know', () => {
    const strict = { ...facts, isAuthRequired: true, hasAllowedOrigins: true };
    const shown = fleetCapabilities(strict, registry([PRIMARY])) as { features: string[] };
    expect(shown.features).toEqual(expect.arrayContaining(['require_auth', 'allow_origin']));
  });
});

describe('the listing from the store', () => {
  const row = (sessionId: string, createdAtMs: number): SessionRow => ({
    sessionId,
    workspaceId: PRIMARY.id,
    incarnation: `${PRIMARY.id}-1`,
    state: 'live',
    createdAtMs,
    lastSeenAtMs: createdAtMs,
    displayName: null,
    sourceType: null,
    sourceId: null,
    isDefault: false,
    eventHead: 0,
    endedAtMs: null,
    endReason: null,
    shelf: 'active',
  });
  const rows = Array.from({ length: 25 }, (_, at) => row(`s${at}`, 1000 + at));
  const page = (query: string) =>
    sessionListing(new URLSearchParams(query), { cwd: '/a', rows, clientCount: () => 1 }) as unknown as {
      sessions: { sessionId: string }[];
      nextCursor?: string;
    };

  test('pages newest first, and the pages together are the whole', () => {
    const first = page('size=abc');
    expect(first.sessions).toHaveLength(20);
    expect(first.sessions[0]).toMatchObject({ sessionId: 's24', workspaceCwd: '/a', clientCount: 1 });
    const second = page(`cursor=${first.nextCursor}`);
    expect(second).not.toHaveProperty('nextCursor');
    const ids = [...first.sessions, ...second.sessions].map(({ sessionId }) => sessionId);
    expect(new Set(ids).size).toBe(25);
  });

  test.each([
    ['cursor=-1', 'invalid_cursor'],
    ['archiveState=all', 'invalid_archive_state'],
    ['view=flat', 'invalid_session_view'],
  ])('refuses %s with %s', (query, code) => {
    expect(() => page(query)).toThrow(expect.objectContaining({ status: 400, code }));
  });

  test('clamps the size to 1 to 100', () => {
    expect(page('size=0').sessions).toHaveLength(1);
    expect(page('size=9999').sessions).toHaveLength(25);
  });
});

describe('diagnostics', () => {
  const store = {
    path: '/db',
    bytes: 1,
    walBytes: 0,
    schemaVersion: 1,
    sessions: 0,
    events: 0,
    warnings: [],
  };
  const config = { token: 'hunter2', nested: [{ apiKey: 'k', port: 1 }], tokenFile: null };
  const diagnosed = (views: DaemonView[]) =>
    diagnosticsView({
      self: { version: '1', pid: 1, uptimeMs: 5 },
      config,
      workspaces: {
        entries: [
          { id: '0123456789abcdef', path: '/a', displayName: undefined, isPrimary: true, isStatic: true },
        ],
        views,
        liveSessions: () => 2,
        lastExitOf: () => null,
        beatStaleMs: 15_000,
      },
      store,
      nowMs: NOW,
    }) as { warnings: string[]; workspaces: unknown[] };
  const warningsOf = (views: DaemonView[]) => diagnosed(views).warnings;

  test('show that a secret is set, never the secret', () => {
    const text = JSON.stringify(diagnosed([view()]));
    expect(text).not.toMatch(/hunter2|"k"/);
    expect(redacted(config)).toEqual({
      token: '[redacted]',
      nested: [{ apiKey: '[redacted]', port: 1 }],
      tokenFile: null,
    });
  });

  test('show each workspace with its daemon, and one that never ran as stopped', () => {
    expect(diagnosed([]).workspaces).toEqual([
      expect.objectContaining({ state: 'stopped', sessions: 2, restarts: 0 }),
    ]);
  });

  test('say in words what is wrong, and nothing when all is well', () => {
    expect(warningsOf([view()])).toEqual([]);
    const lastExit = { atMs: 1, code: 1, signal: null, reason: 'exited with 1', lastLines: [] };
    expect(warningsOf([view({ state: 'failed', lastExit })])[0]).toMatch(/\/a keeps failing.*exited with 1/);
    const held = { state: 'held', agent: null, heldWhy: 'it does not answer' } as const;
    expect(warningsOf([view(held)])).toEqual([
      '/a is held, and nothing is started for it: process 7 cannot be verified (it does not answer). End it, or wait.',
    ]);
    expect(warningsOf([view({ ...held, pid: null })])[0]).toContain(
      'an earlier daemon whose pid is not known',
    );
    expect(warningsOf([view({ isFeedUp: false })])[0]).toMatch(/feed is down/);
    expect(warningsOf([view({ lastBeat: { ...BEAT, atMs: NOW - 60_000 } })])[0]).toMatch(/60 s ago/);
  });
});
