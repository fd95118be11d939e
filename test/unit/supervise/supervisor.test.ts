import { describe, expect, test } from '@jest/globals';
import type { WorkspaceKey } from '../../../coordinator/supervise/fleet.ts';
import { DEFAULT_SUPERVISE_SETTINGS } from '../../../coordinator/supervise/settings.ts';
import type { FeedPrompt } from '../../../daemon/contract/feed.ts';
import {
  BEAT,
  fleetFixture,
  OTHER_WORKSPACE,
  sessionOf,
  stays,
  WORKSPACE,
} from '../../support/fleet-fixture.ts';
import { pass, settled } from '../../support/manual-clock.ts';
import { memoryHandle } from '../../support/memory-launcher.ts';

type Fixture = ReturnType<typeof fleetFixture>;

const running: FeedPrompt = { promptId: 'p1', sessionId: 's1', state: 'running', atMs: 1 };

async function ready(fixture: Fixture, workspace: WorkspaceKey = WORKSPACE) {
  const endpoint = fixture.supervisor.ensureReady(workspace, stays);
  fixture.launcher.last.listen();
  await settled();
  fixture.feeds.at(-1)?.sync();
  return endpoint;
}

async function refusal(of: Promise<unknown>): Promise<{ status: number; message: string; context: object }> {
  return of.then(
    () => {
      throw new Error('was not refused');
    },
    (error) => error,
  );
}

describe('a start', () => {
  test('commits the row with its planned handle and a secret of 32 bytes before the daemon is made', async () => {
    const fixture = fleetFixture();
    let before: unknown;
    fixture.launcher.onStart = ({ incarnation }) => {
      before = { ...fixture.store.daemonRows.get(incarnation) };
    };
    const waiting = fixture.supervisor.ensureReady(WORKSPACE, stays);
    const spec = fixture.launcher.specs[0];
    const launchHandle = memoryHandle(`${WORKSPACE.id}-1`, false);
    expect(before).toMatchObject({ state: 'starting', launchHandle, address: null, secret: spec?.secret });
    expect(Buffer.from(spec?.secret ?? '', 'base64url')).toHaveLength(32);
    const { handle } = fixture.launcher.last;
    expect(fixture.store.daemons.latest(WORKSPACE.id)).toMatchObject({ launchHandle: handle, address: null });
    fixture.launcher.last.exit({ code: 1 });
    await refusal(waiting);
  });

  test('is shared by everybody who asks during it', async () => {
    const fixture = fleetFixture();
    const first = fixture.supervisor.ensureReady(WORKSPACE, stays);
    const second = ready(fixture);
    expect(await first).toEqual(await second);
    expect(fixture.launcher.specs).toHaveLength(1);
  });

  test('opens the route only when the first snapshot is in the store', async () => {
    const fixture = fleetFixture();
    const waiting = fixture.supervisor.ensureReady(WORKSPACE, stays);
    fixture.launcher.last.listen();
    await settled();
    expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('starting');
    expect(fixture.supervisor.endpointOf(WORKSPACE.id)).toBeUndefined();
    fixture.feeds[0]?.sync({ sessions: [sessionOf('s1')] });
    expect(fixture.recorder.find('s1')?.workspaceId).toBe(WORKSPACE.id);
    expect(fixture.supervisor.endpointOf(WORKSPACE.id)).toEqual(await waiting);
  });

  test('stores where the daemon answers when it says so, and leads there', async () => {
    const fixture = fleetFixture();
    const endpoint = await ready(fixture);
    const { address } = fixture.launcher.last;
    expect(endpoint).toMatchObject({ address, secret: fixture.launcher.specs[0]?.secret });
    expect(fixture.feeds[0]?.target).toEqual(endpoint);
    const row = fixture.store.daemons.latest(WORKSPACE.id);
    expect(row).toMatchObject({ state: 'ready', address: JSON.stringify(address) });
  });

  test('that gives no ready line in time is ended, and those who wait hear why', async () => {
    const fixture = fleetFixture({ startTimeoutMs: 100 });
    const waiting = refusal(fixture.supervisor.ensureReady(WORKSPACE, stays));
    fixture.clock.advance(100);
    expect(await waiting).toMatchObject({ status: 503, code: 'workspace_runtime_unavailable' });
    expect((await waiting).message).toContain('ready line did not come within 100 ms');
    expect(fixture.launcher.last.terminations).toEqual([fixture.settings.stopGraceMs]);
  });

  test('whose feed cannot be had in time is ended', async () => {
    const fixture = fleetFixture({ feedReadyTimeoutMs: 100 });
    const waiting = refusal(fixture.supervisor.ensureReady(WORKSPACE, stays));
    fixture.launcher.last.listen();
    await settled();
    fixture.clock.advance(100);
    expect((await waiting).message).toContain('feed did not come');
    expect(fixture.launcher.last.terminations).toHaveLength(1);
  });

  test('that the daemon refuses is answered with its own words', async () => {
    const fixture = fleetFixture();
    const waiting = refusal(fixture.supervisor.ensureReady(WORKSPACE, stays));
    fixture.launcher.last.refuse('the workspace is locked by process 77');
    expect((await waiting).message).toContain('locked by process 77');
  });

  test('for which no process can be made leaves an ended row and counts as a death', async () => {
    const fixture = fleetFixture();
    fixture.launcher.startError = new Error('out of processes');
    const waiting = refusal(fixture.supervisor.ensureReady(WORKSPACE, stays));
    expect((await waiting).message).toContain('out of processes');
    expect(fixture.store.daemons.latest(WORKSPACE.id)).toMatchObject({ state: 'ended' });
    expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('backoff');
    const told = fixture.store.events.story(WORKSPACE.id, 10);
    expect(told.find(({ kind }) => kind === 'start_failed')?.detail).toMatchObject({
      next: { state: 'backoff', deaths: 1 },
    });
  });

  test('that the store refuses is answered 507, and no process is made', async () => {
    const fixture = fleetFixture();
    fixture.store.refused.add('daemons.insertStarting');
    const waiting = refusal(fixture.supervisor.ensureReady(WORKSPACE, stays));
    expect(await waiting).toMatchObject({ status: 507 });
    expect(fixture.launcher.daemons).toHaveLength(0);
  });

  test('whose process the store cannot note is ended again', async () => {
    const fixture = fleetFixture();
    fixture.store.refused.add('daemons.setLaunched');
    const waiting = refusal(fixture.supervisor.ensureReady(WORKSPACE, stays));
    expect(await waiting).toMatchObject({ status: 507 });
    expect(fixture.launcher.last.terminations).toHaveLength(1);
  });

  test('that the store refuses time and again is no crash loop', async () => {
    const fixture = fleetFixture();
    fixture.store.refused.add('daemons.insertStarting');
    for (let attempt = 0; attempt < 10; attempt += 1)
      expect(await refusal(fixture.supervisor.ensureReady(WORKSPACE, stays))).toMatchObject({ status: 507 });
    fixture.store.refused.clear();
    expect((await ready(fixture)).workspaceId).toBe(WORKSPACE.id);
  });

  test('is refused while the workspace is drained, also to those who wait since before', async () => {
    const fixture = fleetFixture({ maxConcurrentStarts: 1 });
    const first = fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays);
    const parked = refusal(fixture.supervisor.ensureReady(WORKSPACE, stays));
    fixture.store.workspaces.change(WORKSPACE.id, { holdReason: 'disk swap' });
    expect(await refusal(fixture.supervisor.ensureReady(WORKSPACE, stays))).toMatchObject({
      status: 503,
      code: 'workspace_draining',
      context: { reason: 'disk swap' },
    });
    fixture.launcher.last.listen();
    await settled();
    fixture.feeds.at(-1)?.sync();
    await first;
    expect(await parked).toMatchObject({ code: 'workspace_draining' });
    expect(fixture.launcher.specs).toHaveLength(1);
  });

  test('is not made for a client that has left already', async () => {
    const fixture = fleetFixture();
    const gone = AbortSignal.abort(new Error('gone'));
    await expect(fixture.supervisor.ensureReady(WORKSPACE, gone)).rejects.toThrow('gone');
    expect(fixture.launcher.specs).toHaveLength(0);
  });
});

describe('a death', () => {
  test('closes the route and the sessions, and leaves an event with everything that is known', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    fixture.feeds[0]?.say({ type: 'session', session: sessionOf('s1') });
    fixture.launcher.last.exit({ code: 3, lastLines: ['boom'], strays: 2 });
    await settled();
    expect(fixture.supervisor.endpointOf(WORKSPACE.id)).toBeUndefined();
    expect(fixture.recorder.find('s1')?.workspaceId).toBeUndefined();
    expect(fixture.store.sessions.get('s1')).toMatchObject({ state: 'closed', endReason: 'daemon_died' });
    expect(fixture.store.eventRows.at(-1)).toMatchObject({
      kind: 'daemon_died',
      incarnation: `${WORKSPACE.id}-1`,
      detail: { code: 3, lastLines: ['boom'], strays: 2, next: { state: 'backoff', afterMs: 500 } },
    });
    expect(fixture.feeds[0]?.isClosed).toBe(true);
  });

  test('while starting is told to those who wait, with the last lines and when to retry', async () => {
    const fixture = fleetFixture();
    const waiting = refusal(fixture.supervisor.ensureReady(WORKSPACE, stays));
    fixture.launcher.last.exit({ signal: 'SIGKILL', code: null, lastLines: ['no memory'] });
    // The exit arrives with the refused ready line; whichever comes first, the waiter is told once.
    expect(await waiting).toMatchObject({ status: 503, retryAfterS: 1 });
  });

  test('is followed by a start that takes one of the places for starts', async () => {
    const fixture = fleetFixture({ maxConcurrentStarts: 1 });
    await ready(fixture);
    fixture.launcher.last.exit({ code: 1 });
    await settled();
    void demanded(fixture);
    fixture.clock.advance(fixture.settings.restart.firstBackoffMs);
    expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('starting');
    void fixture.supervisor.ensureReady(OTHER_WORKSPACE, stays);
    expect(fixture.supervisor.view(OTHER_WORKSPACE.id)?.state).not.toBe('starting');
    fixture.launcher.last.listen();
    await settled();
    fixture.feeds.at(-1)?.sync();
    expect(fixture.supervisor.view(OTHER_WORKSPACE.id)?.state).toBe('starting');
  });

  test('is followed by a fresh start for who asks during the backoff, when it is over', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    fixture.launcher.last.exit({ code: 1 });
    await settled();
    const waiting = demanded(fixture);
    expect(fixture.launcher.specs).toHaveLength(1);
    fixture.clock.advance(fixture.settings.restart.firstBackoffMs);
    expect(fixture.launcher.specs).toHaveLength(2);
    fixture.launcher.last.listen();
    await settled();
    fixture.feeds[1]?.sync();
    expect((await waiting).incarnation).toBe(`${WORKSPACE.id}-2`);
  });

  test('is followed by nothing when nobody waits any more', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    fixture.launcher.last.exit({ code: 1 });
    await settled();
    const client = new AbortController();
    const waiting = refusal(fixture.supervisor.ensureReady(WORKSPACE, client.signal));
    client.abort(new Error('gone'));
    await waiting;
    fixture.clock.advance(60_000);
    expect(fixture.launcher.specs).toHaveLength(1);
    expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('stopped');
  });

  test('too many in a row refuse at once until the cool-off is over; then a demand starts afresh', async () => {
    const restart = { ...DEFAULT_SUPERVISE_SETTINGS.restart, maxBackoffMs: 4000 };
    const fixture = fleetFixture({ restart });
    for (let death = 0; death <= fixture.settings.restart.intensity; death += 1) {
      const waiting = refusal(fixture.supervisor.ensureReady(WORKSPACE, stays));
      fixture.clock.advance(restart.maxBackoffMs);
      fixture.launcher.last.exit({ code: 1 });
      await waiting;
      await settled();
    }
    expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('failed');
    const starts = fixture.launcher.specs.length;
    const refused = await refusal(fixture.supervisor.ensureReady(WORKSPACE, stays));
    expect(refused).toMatchObject({ status: 503, retryAfterS: 60 });
    expect(refused.message).toMatch(/: 6 failures within 1 min; last: .+; next attempt allowed in 1 min$/);
    expect(fixture.launcher.specs).toHaveLength(starts);
    fixture.clock.advance(fixture.settings.restart.coolOffMs);
    const again = ready(fixture);
    expect(fixture.launcher.specs).toHaveLength(starts + 1);
    await again;
  });

  test('that the store cannot record does not keep the workspace from living on', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    fixture.store.refused.add('daemons.setEnded');
    fixture.launcher.last.exit({ code: 0 });
    await settled();
    expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('stopped');
  });
});

/** A demand whose daemon the test brings up by itself. */
function demanded(fixture: Fixture) {
  return fixture.supervisor.ensureReady(WORKSPACE, stays);
}

describe('a stop', () => {
  test('ends a quiet daemon at once and resolves when it is gone', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    let isDone = false;
    const stop = fixture.supervisor.stop(WORKSPACE.id, { reason: 'asked', kind: 'stopped' }).then(() => {
      isDone = true;
    });
    await settled();
    expect(fixture.launcher.last.terminations).toHaveLength(1);
    expect(isDone).toBe(false);
    fixture.launcher.last.exit({ code: 0 });
    await stop;
    expect(fixture.store.daemons.latest(WORKSPACE.id)).toMatchObject({ state: 'ended', endReason: 'asked' });
    expect(fixture.store.eventRows.at(-1)?.kind).toBe('daemon_stopped');
  });

  test('waits for the running turn, and not longer than the drain may take', async () => {
    const fixture = fleetFixture({ drainTimeoutMs: 1000 });
    await ready(fixture);
    fixture.feeds[0]?.say({ type: 'prompt', prompt: running });
    void fixture.supervisor.stop(WORKSPACE.id, { reason: 'asked', kind: 'stopped' });
    expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('draining');
    fixture.clock.advance(999);
    expect(fixture.launcher.last.terminations).toHaveLength(0);
    fixture.clock.advance(1);
    await settled();
    expect(fixture.launcher.last.terminations).toHaveLength(1);
  });

  test('goes on as soon as the turn has ended', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    fixture.feeds[0]?.say({ type: 'prompt', prompt: running });
    void fixture.supervisor.stop(WORKSPACE.id, { reason: 'asked', kind: 'stopped' });
    expect(fixture.launcher.last.terminations).toHaveLength(0);
    fixture.feeds[0]?.say({ type: 'prompt', prompt: { ...running, state: 'completed' } });
    await settled();
    expect(fixture.launcher.last.terminations).toHaveLength(1);
  });

  test('asks the daemon itself before it believes that the daemon is quiet', async () => {
    let isBusy = true;
    const asked: boolean[] = [];
    const fixture = fleetFixture(
      {},
      {
        release: (_endpoint, { onlyIfQuiet }) => {
          asked.push(onlyIfQuiet);
          return Promise.resolve(!isBusy);
        },
      },
    );
    await ready(fixture);
    void fixture.supervisor.stop(WORKSPACE.id, { reason: 'asked', kind: 'stopped' });
    await settled();
    expect(fixture.launcher.last.terminations).toHaveLength(0);
    expect(fixture.supervisor.reachOf(WORKSPACE.id)).toBeDefined();
    isBusy = false;
    fixture.clock.advance(100);
    await settled();
    expect(fixture.launcher.last.terminations).toHaveLength(1);
    expect(asked).toEqual([true, true]);
  });

  test('counts an open permission as a turn', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    fixture.feeds[0]?.say({ type: 'beat', beat: { ...BEAT, pendingPermissions: 1 } });
    void fixture.supervisor.stop(WORKSPACE.id, { reason: 'asked', kind: 'stopped' });
    expect(fixture.launcher.last.terminations).toHaveLength(0);
  });

  test('is followed by a fresh start for who asked meanwhile', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    const stop = fixture.supervisor.stop(WORKSPACE.id, { reason: 'asked', kind: 'stopped' });
    const first = fixture.launcher.last;
    const waiting = demanded(fixture);
    expect(fixture.launcher.specs).toHaveLength(1);
    first.exit({ code: 0 });
    await stop;
    expect(fixture.launcher.specs).toHaveLength(2);
    fixture.launcher.last.listen();
    await settled();
    fixture.feeds[1]?.sync();
    expect((await waiting).incarnation).toBe(`${WORKSPACE.id}-2`);
  });

  test('of a workspace without a daemon resolves at once', async () => {
    const fixture = fleetFixture();
    await fixture.supervisor.stop(WORKSPACE.id, { reason: 'asked', kind: 'stopped' });
    expect(fixture.launcher.specs).toHaveLength(0);
  });

  test('of everything refuses new demands and kills what is left at the deadline', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    await ready(fixture, OTHER_WORKSPACE);
    const [tidy, stuck] = fixture.launcher.daemons;
    if (tidy !== undefined) tidy.endsWhenAsked = true;
    void fixture.supervisor.stop(WORKSPACE.id, { reason: 'asked', kind: 'stopped' });
    const stop = fixture.supervisor.stopAll(20_000);
    await expect(fixture.supervisor.ensureReady(WORKSPACE, stays)).rejects.toMatchObject({
      code: 'daemon_draining',
    });
    expect([tidy?.isAlive, stuck?.isAlive]).toEqual([false, true]);
    fixture.clock.advance(20_000);
    await stop;
    expect([tidy?.kills, stuck?.kills]).toEqual([0, 1]);
    expect(fixture.clock.pending).toBe(0);
  });
});

describe('supervision', () => {
  test('ends a daemon that neither beats nor answers', async () => {
    const fixture = fleetFixture();
    await fixture.supervisor.adoptAll();
    await ready(fixture);
    await pass(fixture.clock, 26_000);
    expect(fixture.launcher.last.terminations).toHaveLength(1);
    fixture.launcher.last.exit({ code: 0 });
    await settled();
    expect(fixture.supervisor.view(WORKSPACE.id)?.state).toBe('backoff');
    await fixture.supervisor.detach();
  });

  test('asks for the feed again when a silent daemon answers', async () => {
    const fixture = fleetFixture(
      {},
      {
        askIdentity: () =>
          Promise.resolve({
            contract: 1,
            incarnation: `${WORKSPACE.id}-1`,
            pid: 1,
            startTime: 7,
            version: '1',
            ending: false,
          }),
      },
    );
    await fixture.supervisor.adoptAll();
    await ready(fixture);
    await pass(fixture.clock, 26_000);
    expect(fixture.launcher.last.terminations).toHaveLength(0);
    expect(fixture.feeds[0]?.reconnects.length).toBeGreaterThan(0);
    await fixture.supervisor.detach();
  });

  test('leaves the daemons running when it is detached, and no timer behind', async () => {
    const fixture = fleetFixture();
    await fixture.supervisor.adoptAll();
    await ready(fixture);
    await fixture.supervisor.detach();
    expect(fixture.launcher.last.isAlive).toBe(true);
    expect(fixture.launcher.last.terminations).toHaveLength(0);
    expect(fixture.clock.pending).toBe(0);
    expect(fixture.feeds[0]?.isClosed).toBe(true);
  });

  test('writes the last heartbeats when it is detached', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    fixture.feeds[0]?.say({ type: 'seen', seen: [{ sessionId: 's', clientId: 'c', atMs: 1 }] });
    await fixture.supervisor.detach();
    expect(fixture.store.seenBatches).toHaveLength(1);
  });

  test('rotates the logs of the daemons that run', async () => {
    const fixture = fleetFixture({ logRotatePeriodMs: 1000 });
    await fixture.supervisor.adoptAll();
    await ready(fixture);
    fixture.clock.advance(1000);
    expect(fixture.launcher.last.rotations).toBe(1);
    await fixture.supervisor.detach();
  });

  test('answers for a stored record through the feed of that incarnation only', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    expect(await fixture.supervisor.stored(`${WORKSPACE.id}-1`, 1)).toBe(true);
    expect(await fixture.supervisor.stored(`${WORKSPACE.id}-0`, 1)).toBe(false);
  });

  test('forgets a workspace only after its daemon has ended', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    expect(() => fixture.supervisor.forget(WORKSPACE.id)).toThrow(
      expect.objectContaining({ code: 'workspace_busy' }),
    );
    fixture.launcher.last.endsWhenAsked = true;
    await fixture.supervisor.stop(WORKSPACE.id, { reason: 'removed', kind: 'stopped' });
    fixture.supervisor.forget(WORKSPACE.id);
    expect(fixture.supervisor.view(WORKSPACE.id)).toBeUndefined();
  });

  test('kills every daemon at once on the second signal', async () => {
    const fixture = fleetFixture();
    await ready(fixture);
    fixture.supervisor.killAllNow();
    expect(fixture.launcher.alive).toHaveLength(0);
  });
});
