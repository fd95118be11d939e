import { describe, expect, test } from '@jest/globals';
import { agoOf, bytesOf, spanOf } from '../../../coordinator/domain/units.ts';
import { type StoryFacts, storyOf } from '../../../coordinator/supervise/records/story.ts';

const NOW = Date.UTC(2026, 10, 20, 15, 20, 0);
const ONE = '00000000000000aa-1';
const TWO = '00000000000000aa-2';

let id = 0;
function at(beforeS: number, kind: string, incarnation: string | null, detail: Record<string, unknown> = {}) {
  id += 1;
  return {
    id,
    atMs: NOW - beforeS * 1000,
    kind,
    workspaceId: '00000000000000aa',
    incarnation,
    sessionId: null,
    detail,
  };
}

function told(facts: Partial<StoryFacts>): readonly string[] {
  const { summary, lines } = storyOf({
    path: '/projects/a',
    state: 'stopped',
    pid: null,
    incarnation: null,
    heldWhy: null,
    drainWhy: null,
    events: [],
    nowMs: NOW,
    ...facts,
  });
  return [summary, ...lines];
}

const beat = (atMs: number, rssBytes: number, agentRssBytes: number) => ({
  atMs,
  rssBytes,
  agentRssBytes,
  sessions: 2,
  activePrompts: 1,
});

const killed = () =>
  at(240, 'daemon_died', ONE, {
    cause: 'killed by SIGKILL',
    code: null,
    signal: 'SIGKILL',
    sessions: 2,
    isUnasked: true,
    wasReady: true,
    oomKills: 1,
    hostOomKills: 1,
    peakBytes: 2_147_000_000,
    beats: [beat(NOW - 300_000, 51e6, 210e6), beat(NOW - 245_000, 64e6, 1900e6)],
    lastLines: ['{"msg":"prompt"}', 'allocation failed'],
    next: { state: 'backoff', afterMs: 512, deaths: 1, intensity: 5, periodMs: 60_000 },
  });

describe('the story of a workspace', () => {
  test('that was killed for want of memory and came back', () => {
    const events = [
      at(600, 'workspace_added', null, { path: '/projects/a', origin: 'static', displayName: null }),
      at(600, 'daemon_starting', ONE),
      at(599, 'daemon_ready', ONE, { version: '0.1.0' }),
      killed(),
      at(200, 'daemon_starting', TWO),
      at(199, 'daemon_spawned', TWO, { pid: 4711 }),
      at(198, 'daemon_ready', TWO, { version: '0.1.0' }),
    ];
    expect(told({ state: 'ready', pid: 4711, incarnation: TWO, events: events.reverse() })).toEqual([
      'The daemon of /projects/a is ready: number 2, pid 4711, started 2026-11-20 15:16:40Z (3 min 20 s ago).',
      '  2026-11-20 15:10:00Z (10 min ago)  the workspace /projects/a was registered (static)',
      'Daemon 1 (00000000000000aa-1)',
      '  2026-11-20 15:10:00Z (10 min ago)  start decided and recorded',
      '  2026-11-20 15:10:01Z (9 min 59 s ago)  listening, version 0.1.0',
      '  2026-11-20 15:16:00Z (4 min ago)  died: killed by SIGKILL, not sent by the coordinator, with 2 sessions open',
      '      out of memory: the kernel killed 1 process of its cgroup',
      '      its whole tree used at most 2.1 GB',
      '      memory over its last 55 s: daemon 51 MB to 64 MB, agent 210 MB to 1.9 GB; at the last beat 1 prompt running, 2 sessions',
      '      its last output:',
      '      | {"msg":"prompt"}',
      '      | allocation failed',
      '      then: restarted after 512 ms if a request is waiting, else on demand (death 1 within 1 min; up to 5 are retried)',
      'Daemon 2 (00000000000000aa-2)',
      '  2026-11-20 15:16:40Z (3 min 20 s ago)  start decided and recorded',
      '  2026-11-20 15:16:41Z (3 min 19 s ago)  spawned as pid 4711',
      '  2026-11-20 15:16:42Z (3 min 18 s ago)  listening, version 0.1.0',
    ]);
  });

  test('that fails again and again, and of the requests that were refused meanwhile', () => {
    const next = { state: 'failed', afterMs: 60_000, deaths: 6, intensity: 5, periodMs: 60_000 };
    const events = [
      at(20, 'daemon_died', ONE, {
        cause: 'the agent is missing',
        code: 3,
        signal: null,
        isUnasked: false,
        wasReady: false,
        beats: [],
        lastLines: [],
        next,
      }),
      at(19, 'request_refused', null, refusal(1, 19, 19)),
      at(1, 'request_refused', null, refusal(499, 18, 2)),
    ];
    expect(told({ state: 'failed', events })).toEqual([
      'The daemon of /projects/a has failed. Number 1 failed to start: the agent is missing (it ended with exit code 3), ' +
        '2026-11-20 15:19:40Z (20 s ago). Not restarted until 2026-11-20 15:20:40Z (in 40 s), unless an operator restarts it (death 6 within 1 min; up to 5 are retried).',
      'Daemon 1 (00000000000000aa-1)',
      '  2026-11-20 15:19:40Z (20 s ago)  failed to start: the agent is missing (it ended with exit code 3)',
      '      then: not restarted until 2026-11-20 15:20:40Z (in 40 s), unless an operator restarts it (death 6 within 1 min; up to 5 are retried)',
      '  2026-11-20 15:19:41Z (19 s ago)  a request was refused with 503 workspace_runtime_unavailable: it failed',
      '  2026-11-20 15:19:59Z (1 s ago)  499 more requests within 16 s were refused, the last 2 s ago, with 503 workspace_runtime_unavailable: it failed',
    ]);
  });

  test('that was stopped in order, and one that never ran', () => {
    const stopped = at(5, 'daemon_stopped', ONE, {
      cause: 'idle for 30 min',
      code: 0,
      signal: null,
      isUnasked: false,
      sessions: 1,
      next: { state: 'stopped' },
    });
    expect(told({ events: [stopped] })[0]).toBe(
      'The daemon of /projects/a is stopped. Number 1 ended: idle for 30 min, 2026-11-20 15:19:55Z (5 s ago). Nothing until a request needs it.',
    );
    expect(told({})).toEqual(['The daemon of /projects/a is stopped: no start of it is on record.']);
  });

  test('that is held, or drained', () => {
    const heldWhy = 'pid 12 runs, but on /run/x.sock: no answer within 5000 ms';
    expect(told({ state: 'held', heldWhy })[0]).toBe(
      `The daemon of /projects/a is held, so no new one is started: ${heldWhy}.`,
    );
    expect(told({ drainWhy: 'new disk' })[0]).toContain('It takes no new work until "undrain": new disk.');
  });

  test('says of a SIGKILL what is known of its reason, and no more', () => {
    const of = (detail: Record<string, unknown>) =>
      told({ events: [at(1, 'daemon_died', ONE, { signal: 'SIGKILL', isUnasked: true, ...detail })] }).join(
        '\n',
      );
    expect(of({ oomKills: 0, hostOomKills: 0 })).toContain('not out of memory');
    expect(of({ oomKills: null, hostOomKills: 2 })).toContain(
      "possibly out of memory: the host's OOM killer fired 2 times meanwhile; victims unknown",
    );
    expect(of({ oomKills: null, hostOomKills: null })).not.toContain('memory');
    expect(of({ isUnasked: false, cause: 'it did not beat' })).not.toContain('not sent by');
  });

  test('that gave its place to another, and one whose session did not come back', () => {
    const restore = at(20, 'restore_failed', TWO, { why: 'the agent lost it', becomes: 'closed' });
    const lines = told({
      events: [
        at(60, 'daemon_evicted', ONE, {
          why: 'evicted to make room for /projects/b (--max-daemons is 4)',
          next: { state: 'stopped' },
        }),
        { ...restore, sessionId: 's-1' },
      ],
    }).join('\n');
    expect(lines).toMatch(/evicted to make room for \/projects\/b \(--max-daemons is 4\)/);
    expect(lines).toMatch(/nothing until a request needs it/);
    expect(lines).toMatch(/session s-1 could not be restored: the agent lost it/);
    expect(lines).toMatch(/then: it is closed/);
  });

  test('with an event that nobody has words for tells its name and detail', () => {
    expect(told({ events: [at(1, 'moon_rose', null, { phase: 'full', n: 1 })] }).at(-1)).toMatch(
      /moon rose: phase full, n 1$/,
    );
  });
});

function refusal(count: number, firstS: number, lastS: number) {
  return {
    status: 503,
    code: 'workspace_runtime_unavailable',
    message: 'it failed',
    count,
    firstAtMs: NOW - firstS * 1000,
    lastAtMs: NOW - lastS * 1000,
  };
}

test.each([
  [350, '350 ms'],
  [12_000, '12 s'],
  [60_000, '1 min'],
  [243_000, '4 min 3 s'],
  [7_500_000, '2 h 5 min'],
  [273_600_000, '3 d 4 h'],
])('%d ms are %s', (ms, words) => expect(spanOf(ms)).toBe(words));

test('a time is now, ago or ahead', () => {
  expect([agoOf(NOW - 10, NOW), agoOf(NOW - 5000, NOW), agoOf(NOW + 5000, NOW)]).toEqual([
    'now',
    '5 s ago',
    'in 5 s',
  ]);
});

test.each([
  [512_000, '512 kB'],
  [64e6, '64 MB'],
  [1.94e9, '1.9 GB'],
])('%d bytes are %s', (bytes, words) => expect(bytesOf(bytes)).toBe(words));
