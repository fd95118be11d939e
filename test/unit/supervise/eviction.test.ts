// A workspace that wants a daemon when as many run as are allowed: whose place it gets, and what it is told otherwise.
import { expect, test } from '@jest/globals';
import type { WorkspaceKey } from '../../../coordinator/supervise/fleet.ts';
import { fleetFixture, OTHER_WORKSPACE, sessionOf, stays, WORKSPACE } from '../../support/fleet-fixture.ts';
import { pass, settled } from '../../support/manual-clock.ts';

type Fixture = ReturnType<typeof fleetFixture>;

async function ready(fixture: Fixture, workspace: WorkspaceKey = WORKSPACE) {
  const endpoint = fixture.supervisor.ensureReady(workspace, stays);
  fixture.launcher.last.listen();
  await settled();
  fixture.feeds.at(-1)?.sync();
  return endpoint;
}

/** A daemon whose only session has been closed again. */
async function idle(fixture: Fixture, workspace: WorkspaceKey = WORKSPACE) {
  await ready(fixture, workspace);
  const feed = fixture.feeds.at(-1);
  const session = { ...sessionOf(`s-${workspace.id}`), workspaceCwd: workspace.path };
  feed?.say({ type: 'session', session });
  const { sessionId } = session;
  feed?.say({ type: 'session_ended', ended: { sessionId, reason: 'session_closed', atMs: 0 } });
}

const RUNNING_PROMPT = { promptId: 'p', sessionId: 's1', state: 'running', atMs: 1 } as const;

const refusal = (of: Promise<unknown>): Promise<unknown> =>
  of.then(
    () => 'no refusal',
    (error) => error,
  );

test('a start is refused when as many daemons run as may, and none of them is idle', async () => {
  const fixture = fleetFixture({ maxDaemons: 1 });
  await ready(fixture);
  fixture.feeds[0]?.say({ type: 'prompt', prompt: RUNNING_PROMPT });
  const refused = await refusal(fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays));
  expect(refused).toMatchObject({
    status: 503,
    code: 'daemon_limit_exceeded',
    context: {
      limit: 1,
      used: 1,
      requested: 1,
      evictable: [],
      kept: [{ workspaceId: WORKSPACE.id, reason: '1 prompt(s) running or queued' }],
    },
  });
  expect(fixture.launcher.specs).toHaveLength(1);
});

test('a start whose room the store cannot tell of is answered 507, and takes no place from the next one', async () => {
  const fixture = fleetFixture({ maxDaemons: 1, maxConcurrentStarts: 1 });
  await ready(fixture);
  fixture.store.refused.add('workspaces.settings');
  const refused = await refusal(fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays));
  expect(refused).toMatchObject({ status: 507 });
  fixture.store.refused.clear();
  fixture.launcher.last.exit({ code: 0 });
  await settled();
  const endpoint = fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays);
  await settled();
  expect(fixture.launcher.specs).toHaveLength(2);
  fixture.launcher.last.listen();
  await settled();
  fixture.feeds.at(-1)?.sync();
  expect((await endpoint).workspaceId).toBe(OTHER_WORKSPACE.id);
});

test('a cold workspace takes one place, however many wait for it', async () => {
  const third = { id: '00000000000000cc', path: '/projects/c' };
  const fixture = fleetFixture({ maxDaemons: 2 });
  await idle(fixture);
  await idle(fixture, OTHER_WORKSPACE);
  const waiting = [1, 2, 3].map(() => fixture.supervisor.ensureReady(third, stays));
  await settled();
  const ended = fixture.launcher.daemons.filter(({ terminations }) => terminations.length > 0);
  expect(ended).toHaveLength(1);
  ended[0]?.exit({ code: 0 });
  await settled();
  fixture.launcher.last.listen();
  await settled();
  fixture.feeds.at(-1)?.sync();
  expect((await Promise.all(waiting)).map(({ workspaceId }) => workspaceId)).toEqual(Array(3).fill(third.id));
  expect(fixture.launcher.daemons.flatMap(({ terminations }) => terminations)).toHaveLength(1);
});

test('room for a session comes from the idle daemon that has some, not from the one that wants it', async () => {
  const fixture = fleetFixture();
  await idle(fixture);
  await ready(fixture, OTHER_WORKSPACE);
  const feed = fixture.feeds.at(-1);
  const agent = { pid: 9, pgid: 9, startTime: 1, canLoad: true };
  feed?.say({ type: 'agent', agent });
  feed?.say({
    type: 'session',
    session: { ...sessionOf('asleep soon'), workspaceCwd: OTHER_WORKSPACE.path },
  });
  expect(fixture.supervisor.makeSessionRoom(OTHER_WORKSPACE.id, 1)).toBeUndefined();
  const room = fixture.supervisor.makeSessionRoom(WORKSPACE.id, 1);
  await settled();
  expect(fixture.launcher.last.terminations).toHaveLength(1);
  fixture.launcher.last.exit({ code: 0 });
  await room;
  expect(fixture.store.sessions.get('asleep soon')?.state).toBe('dormant');
});

test('no place is taken from a daemon whose feed is down', async () => {
  const fixture = fleetFixture({ maxDaemons: 1 });
  await idle(fixture);
  Object.assign(fixture.feeds[0] ?? {}, { isUp: false });
  const refused = await refusal(fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays));
  expect(refused).toMatchObject({ code: 'daemon_limit_exceeded' });
  expect(fixture.launcher.last.terminations).toHaveLength(0);
});

test('no place is taken from a daemon that somebody was just sent to again', async () => {
  const fixture = fleetFixture({ maxDaemons: 1 });
  await idle(fixture);
  await pass(fixture.clock, 1);
  await fixture.supervisor.ensureReady(WORKSPACE, stays);
  const refused = await refusal(fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays));
  expect(refused).toMatchObject({
    context: { kept: [{ workspaceId: WORKSPACE.id, reason: 'a session is being opened' }] },
  });
});

test('a daemon is evicted though the store cannot note it', async () => {
  const fixture = fleetFixture({ maxDaemons: 1 });
  await idle(fixture);
  fixture.store.refused.add('events.append');
  const endpoint = fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays);
  await settled();
  fixture.launcher.last.exit({ code: 0 });
  await settled();
  fixture.launcher.last.listen();
  await settled();
  fixture.feeds.at(-1)?.sync();
  expect((await endpoint).workspaceId).toBe(OTHER_WORKSPACE.id);
});

test('the daemon that was idle for longest is ended when as many run as may', async () => {
  const fixture = fleetFixture({ maxDaemons: 1 });
  await ready(fixture);
  const idle = fixture.launcher.last;
  await expect(fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays)).rejects.toMatchObject({
    context: { kept: [{ workspaceId: WORKSPACE.id, reason: 'a session is being opened' }] },
  });
  fixture.feeds[0]?.say({ type: 'session', session: sessionOf('s1') });
  fixture.feeds[0]?.say({
    type: 'session_ended',
    ended: { sessionId: 's1', reason: 'session_closed', atMs: 0 },
  });
  const endpoint = fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays);
  await settled();
  expect(idle.terminations).toHaveLength(1);
  expect(fixture.launcher.specs).toHaveLength(1);
  idle.exit({ code: 0 });
  await settled();
  fixture.launcher.last.listen();
  await settled();
  fixture.feeds.at(-1)?.sync();
  expect((await endpoint).workspaceId).toBe(OTHER_WORKSPACE.id);
});

test('a daemon that may have let go is not put back before it has said that it has work', async () => {
  const answers = [Promise.reject(new Error('timed out')), Promise.resolve(false)];
  const fixture = fleetFixture(
    { maxDaemons: 1 },
    { release: () => answers.shift() ?? Promise.resolve(true) },
  );
  await idle(fixture);
  void refusal(fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays));
  await settled();
  fixture.feeds[0]?.say({ type: 'prompt', prompt: RUNNING_PROMPT });
  await settled();
  expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('draining');
  await pass(fixture.clock, 100);
  await pass(fixture.clock, 100);
  expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('ready');
});

test('a daemon that has just become ready is not taken from those who waited for it', async () => {
  const fixture = fleetFixture({ maxDaemons: 1, maxConcurrentStarts: 1 });
  const first = fixture.supervisor.ensureReady(WORKSPACE, stays);
  const second = refusal(fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays));
  await settled();
  fixture.launcher.last.listen();
  await settled();
  fixture.feeds.at(-1)?.sync();
  await first;
  expect(await second).toMatchObject({
    code: 'daemon_limit_exceeded',
    context: { kept: [{ workspaceId: WORKSPACE.id, reason: 'a session is being opened' }] },
  });
  expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('ready');
});

test('a daemon that was to go and has work after all stays, and the next idle one goes', async () => {
  const third = { id: '00000000000000cc', path: '/projects/c' };
  const fixture = fleetFixture(
    { maxDaemons: 2 },
    { release: ({ workspaceId }) => Promise.resolve(workspaceId !== WORKSPACE.id) },
  );
  await idle(fixture);
  await pass(fixture.clock, 1000);
  await idle(fixture, OTHER_WORKSPACE);
  const [busy, free] = fixture.launcher.daemons;
  const wanted = fixture.supervisor.ensureReady(third, stays);
  await settled();
  const parked = fixture.supervisor.ensureReady(WORKSPACE, stays);
  await pass(fixture.clock, 100);
  expect((await parked).incarnation).toBe(busy?.incarnation);
  expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('ready');
  expect([busy, free].map((process) => process?.terminations.length)).toEqual([0, 1]);
  free?.exit({ code: 0 });
  await settled();
  fixture.launcher.last.listen();
  await settled();
  fixture.feeds.at(-1)?.sync();
  expect((await wanted).workspaceId).toBe(third.id);
});

test('a daemon whose turn began as it was to go for idleness stays until that has ended, and longer', async () => {
  let answer: (isReleased: boolean) => void = () => {};
  const fixture = fleetFixture(
    { idleTimeoutMs: 2000, idleCheckPeriodMs: 1000 },
    {
      release: () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    },
  );
  await idle(fixture);
  await fixture.supervisor.adoptAll();
  await pass(fixture.clock, 5000);
  expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('draining');
  fixture.feeds[0]?.say({ type: 'prompt', prompt: RUNNING_PROMPT });
  answer(false);
  await settled();
  await pass(fixture.clock, 100);
  expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('ready');
  await fixture.supervisor.detach();
});

test('an operator who stops a daemon that goes for idleness is not told that it stays', async () => {
  const fixture = fleetFixture({ maxDaemons: 1 }, { release: () => Promise.resolve(false) });
  await idle(fixture);
  void refusal(fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays));
  await settled();
  void fixture.supervisor.stop(WORKSPACE.id, { reason: 'asked', kind: 'stopped', drainMs: 5000 });
  await pass(fixture.clock, 1000);
  expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('draining');
  await pass(fixture.clock, 5000);
  expect(fixture.launcher.last.terminations).toHaveLength(1);
});
