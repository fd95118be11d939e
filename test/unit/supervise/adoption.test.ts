import { describe, expect, test } from '@jest/globals';
import type { Adoption } from '../../../coordinator/launch/launcher.ts';
import type { DaemonIdentity } from '../../../daemon/contract/control.ts';
import type { FeedPrompt } from '../../../daemon/contract/feed.ts';
import { FakeProcess, GONE } from '../../support/fake-launcher.ts';
import { FakeStore } from '../../support/fake-store.ts';
import {
  BEAT,
  fleetFixture,
  OTHER_WORKSPACE,
  sessionOf,
  stays,
  WORKSPACE,
} from '../../support/fleet-fixture.ts';
import { pass, settled } from '../../support/manual-clock.ts';

const incarnation = `${WORKSPACE.id}-3`;
const identity: DaemonIdentity = {
  contract: 1,
  incarnation,
  pid: 77,
  startTime: 7,
  version: '2.0.0',
  ending: false,
};

function running(promptId: string): FeedPrompt {
  return { promptId, sessionId: 's1', state: 'running', atMs: 3 };
}

function earlier(row: object = {}, answer?: DaemonIdentity, settings = {}) {
  const store = new FakeStore();
  store.addDaemon({
    incarnation,
    workspaceId: WORKSPACE.id,
    pid: 77,
    startTime: 7,
    version: '1.9.0',
    ...row,
  });
  store.sessions.record(WORKSPACE.id, incarnation, sessionOf('s1'));
  let identityAnswer = answer;
  const fixture = fleetFixture(settings, { askIdentity: () => Promise.resolve(identityAnswer) }, store);
  const mark = { incarnation, bootId: 'boot', pid: 77, startTime: 7, socketPath: '/s', secret: 'secret' };
  const process = new FakeProcess(mark);
  const alive = () => fixture.launcher.adoptions.set(incarnation, { verdict: 'alive', process });
  const unverifiable = () =>
    fixture.launcher.adoptions.set(incarnation, { verdict: 'unverifiable', why: 'pid 77 does not answer' });
  const answers = (next: DaemonIdentity | undefined) => {
    identityAnswer = next;
  };
  return { ...fixture, process, alive, unverifiable, answers };
}

describe('a daemon that is alive', () => {
  test('serves again once its snapshot is stored, and nothing is started', async () => {
    const { supervisor, alive, feeds, launcher } = earlier();
    alive();
    await supervisor.adoptAll();
    const waiting = supervisor.ensureReady(WORKSPACE, stays);
    feeds[0]?.sync({ sessions: [sessionOf('s1')] });
    expect(await waiting).toMatchObject({ incarnation });
    expect(launcher.specs).toHaveLength(0);
    expect(supervisor.view(WORKSPACE.id)).toMatchObject({ state: 'ready', pid: 77, version: '1.9.0' });
    await supervisor.detach();
  });

  test('is not given up on because its feed is late', async () => {
    const { supervisor, alive, clock, process, settings, answers } = earlier();
    alive();
    answers(identity);
    await supervisor.adoptAll();
    clock.advance(settings.feedReadyTimeoutMs * 3);
    await settled();
    expect(process.terminations).toHaveLength(0);
    await supervisor.detach();
  });

  test('that was still starting becomes ready in the store', async () => {
    const { supervisor, alive, store } = earlier({ state: 'starting', version: null }, identity);
    alive();
    await supervisor.adoptAll();
    expect(store.daemonRows.get(incarnation)).toMatchObject({ state: 'ready', version: '2.0.0' });
    await supervisor.detach();
  });

  test('but is ending already gets no demand: they wait for its exit and a fresh start', async () => {
    const { supervisor, alive, process, launcher } = earlier({}, { ...identity, ending: true });
    alive();
    await supervisor.adoptAll();
    const waiting = supervisor.ensureReady(WORKSPACE, stays).catch(() => {});
    expect(launcher.specs).toHaveLength(0);
    process.exit();
    await settled();
    expect(launcher.specs[0]?.incarnation).toBe(`${WORKSPACE.id}-4`);
    await supervisor.detach();
    await waiting;
  });

  test('but speaks another version of the contract may end its turns, and the next demand starts one that fits', async () => {
    const { supervisor, alive, process, launcher, feeds } = earlier({}, { ...identity, contract: 2 });
    alive();
    await supervisor.adoptAll();
    feeds[0]?.sync({ beat: { ...BEAT, activePrompts: 1 }, prompts: [running('p1')] });
    expect(supervisor.view(WORKSPACE.id)).toMatchObject({ state: 'draining' });
    expect(process.terminations).toHaveLength(0);
    feeds[0]?.say({ type: 'prompt', prompt: { ...running('p1'), state: 'completed' } });
    await settled();
    expect(process.terminations).toHaveLength(1);
    process.exit();
    await settled();
    const waiting = supervisor.ensureReady(WORKSPACE, stays).catch(() => {});
    expect(launcher.specs[0]?.incarnation).toBe(`${WORKSPACE.id}-4`);
    await supervisor.detach();
    await waiting;
  });

  test('and cannot be understood is ended at the drain’s deadline', async () => {
    const { supervisor, alive, process, clock, settings } = earlier({}, { ...identity, contract: 2 });
    alive();
    await supervisor.adoptAll();
    clock.advance(settings.drainTimeoutMs + 1);
    await settled();
    expect(process.terminations).toHaveLength(1);
    await supervisor.detach();
  });

  test('of a workspace that was removed is ended', async () => {
    const { supervisor, alive, process, store } = earlier();
    store.workspaces.remove(WORKSPACE.id);
    process.endsWhenAsked = true;
    alive();
    await supervisor.adoptAll();
    await settled();
    expect(process.terminations).toHaveLength(1);
    expect(store.daemonRows.get(incarnation)).toMatchObject({ state: 'ended' });
    await supervisor.detach();
  });

  test('and dies later is recorded like any other', async () => {
    const { supervisor, alive, process, feeds, store } = earlier();
    alive();
    await supervisor.adoptAll();
    feeds[0]?.sync({ sessions: [sessionOf('s1')] });
    process.exit({ code: null });
    await settled();
    expect(store.sessions.get('s1')).toMatchObject({ state: 'closed', endReason: 'daemon_died' });
    expect(supervisor.view(WORKSPACE.id)).toMatchObject({ state: 'backoff', pid: null });
    await supervisor.detach();
  });
});

describe('a daemon that is gone', () => {
  test('has its row ended and its sessions closed, and the next demand starts afresh', async () => {
    const { supervisor, store, recorder, launcher } = earlier();
    expect(recorder.find('s1')?.workspaceId).toBe(WORKSPACE.id);
    await supervisor.adoptAll();
    expect(store.daemonRows.get(incarnation)).toMatchObject({ state: 'ended' });
    expect(recorder.find('s1')?.workspaceId).toBeUndefined();
    const waiting = supervisor.ensureReady(WORKSPACE, stays).catch(() => {});
    expect(launcher.specs).toHaveLength(1);
    await supervisor.detach();
    await waiting;
  });

  test('whose end the store refused is looked at again', async () => {
    const { supervisor, store, clock, settings } = earlier();
    store.refused.add('daemons.setEnded');
    await supervisor.adoptAll();
    store.refused.clear();
    clock.advance(settings.reconcilePeriodMs);
    await settled();
    expect(store.daemonRows.get(incarnation)).toMatchObject({ state: 'ended' });
    await supervisor.detach();
  });
});

describe('a process that cannot be verified', () => {
  test('is left alone, and demands and stops are refused naming its pid', async () => {
    const { supervisor, unverifiable, launcher, process } = earlier();
    unverifiable();
    await supervisor.adoptAll();
    for (const refused of [
      supervisor.ensureReady(WORKSPACE, stays),
      supervisor.stop(WORKSPACE.id, { reason: 'asked', kind: 'stopped' }),
    ])
      await expect(refused).rejects.toMatchObject({
        status: 503,
        message: expect.stringMatching(/rechecked automatically; to unblock now, end process 77$/),
        context: { pid: 77 },
      });
    expect(supervisor.view(WORKSPACE.id)).toMatchObject({ state: 'held', pid: 77, lastExit: null });
    expect([launcher.specs.length, process.terminations.length]).toEqual([0, 0]);
    await supervisor.detach();
  });

  test('takes its place under the limit of daemons', async () => {
    const { supervisor, unverifiable } = earlier({}, undefined, { maxDaemons: 1 });
    unverifiable();
    await supervisor.adoptAll();
    await expect(supervisor.ensureReady(OTHER_WORKSPACE, stays)).rejects.toMatchObject({
      code: 'daemon_limit_exceeded',
    });
    await supervisor.detach();
  });

  test('holds its workspace until it is gone, which is looked at on a timer', async () => {
    const { supervisor, unverifiable, launcher, clock, settings } = earlier();
    unverifiable();
    await supervisor.adoptAll();
    launcher.adoptions.clear();
    clock.advance(settings.reconcilePeriodMs);
    await settled();
    const waiting = supervisor.ensureReady(WORKSPACE, stays).catch(() => {});
    await settled();
    expect(launcher.specs).toHaveLength(1);
    await supervisor.detach();
    await waiting;
  });

  test('within its deadline holds its workspace too', async () => {
    const { supervisor, launcher, clock, settings } = earlier();
    launcher.adoptions.set(incarnation, new Promise(() => {}));
    const adopted = supervisor.adoptAll();
    await settled();
    clock.advance(settings.adoptTimeoutMs);
    await adopted;
    expect(supervisor.view(WORKSPACE.id)?.heldWhy).toContain('could not be verified within');
    await supervisor.detach();
  });
});

describe('a daemon of a drained workspace', () => {
  test('is adopted, and ends after its turns or when the time of that drain is over', async () => {
    const { supervisor, alive, feeds, process, store, clock } = earlier();
    store.workspaces.change(WORKSPACE.id, { holdReason: 'new disk', holdDrainMs: 600_000 });
    process.endsWhenAsked = true;
    alive();
    await supervisor.adoptAll();
    const prompt = { promptId: 'p', sessionId: 's1', state: 'running', atMs: 1 } as const;
    feeds[0]?.sync({ sessions: [sessionOf('s1')], prompts: [prompt] });
    for (let beat = 0; beat < 9; beat += 1) {
      feeds[0]?.say({ type: 'beat', beat: BEAT });
      await pass(clock, 5000);
    }
    expect(process.isAlive).toBe(true);
    await expect(supervisor.ensureReady(WORKSPACE, stays)).rejects.toMatchObject({
      code: 'workspace_draining',
      context: { reason: 'new disk' },
    });
    feeds[0]?.say({ type: 'prompt', prompt: { ...prompt, state: 'completed' } });
    await settled();
    expect(process.isAlive).toBe(false);
    await supervisor.detach();
  });
});

describe('while daemons are being looked for', () => {
  function slow() {
    const fixture = earlier();
    let find: (found: Adoption) => void = () => {};
    const found = new Promise<Adoption>((resolve) => {
      find = resolve;
    });
    fixture.launcher.adoptions.set(incarnation, found);
    return { ...fixture, find, adopted: fixture.supervisor.adoptAll() };
  }

  test('a demand for such a workspace waits, and is served by the daemon that is found', async () => {
    const { supervisor, launcher, find, adopted, process, feeds } = slow();
    const waiting = supervisor.ensureReady(WORKSPACE, stays);
    await settled();
    expect(launcher.specs).toHaveLength(0);
    find({ verdict: 'alive', process });
    await adopted;
    await settled();
    feeds[0]?.sync();
    expect(await waiting).toMatchObject({ incarnation });
    await supervisor.detach();
  });

  test('a demand whose client leaves starts nothing', async () => {
    const { supervisor, launcher, find, adopted } = slow();
    const client = new AbortController();
    const waiting = supervisor.ensureReady(WORKSPACE, client.signal);
    client.abort(new Error('gone'));
    find(GONE);
    await expect(waiting).rejects.toThrow('gone');
    await adopted;
    expect(launcher.specs).toHaveLength(0);
    await supervisor.detach();
  });

  test('a demand for another workspace does not wait', async () => {
    const { supervisor, launcher, find, adopted } = slow();
    const waiting = supervisor.ensureReady(OTHER_WORKSPACE, stays).catch(() => {});
    await settled();
    expect(launcher.specs).toHaveLength(1);
    find(GONE);
    await adopted;
    await supervisor.detach();
    await waiting;
  });

  test('a stop of everything waits, and ends what is found once its turns have ended', async () => {
    const { supervisor, find, adopted, process, feeds } = slow();
    process.endsWhenAsked = true;
    const stop = supervisor.stopAll(20_000);
    await settled();
    find({ verdict: 'alive', process });
    await adopted;
    await settled();
    const prompt = { promptId: 'p', sessionId: 's1', state: 'running', atMs: 1 } as const;
    feeds[0]?.sync({ sessions: [sessionOf('s1')], prompts: [prompt] });
    await settled();
    expect(process.isAlive).toBe(true);
    feeds[0]?.say({ type: 'prompt', prompt: { ...prompt, state: 'completed' } });
    await stop;
    expect(process.isAlive).toBe(false);
  });

  test('a stop of everything does not wait for ever for the feed of what is found', async () => {
    const { supervisor, clock, find, adopted, process, settings } = slow();
    process.endsWhenAsked = true;
    const stop = supervisor.stopAll(20_000);
    await settled();
    find({ verdict: 'alive', process });
    await adopted;
    await settled();
    await pass(clock, 20_000 - settings.stopGraceMs);
    await stop;
    expect(process.isAlive).toBe(false);
  });
});

describe('a start that was interrupted before its pid was stored', () => {
  const interrupted = { state: 'starting', pid: null, startTime: null, version: null };

  test('is ended once its deadline is over', async () => {
    const { supervisor, store } = earlier({ ...interrupted, startDeadlineAtMs: 0 });
    await supervisor.adoptAll();
    expect(store.daemonRows.get(incarnation)).toMatchObject({
      state: 'ended',
      endReason: 'no process was ever made for it',
    });
    await supervisor.detach();
  });

  test('holds its workspace until then', async () => {
    const { supervisor, store, clock } = earlier();
    const deadline = clock.nowMs() + 12_000;
    store.addDaemon({
      incarnation,
      workspaceId: WORKSPACE.id,
      ...interrupted,
      state: 'starting',
      startDeadlineAtMs: deadline,
    });
    await supervisor.adoptAll();
    await expect(supervisor.ensureReady(WORKSPACE, stays)).rejects.toMatchObject({ status: 503 });
    clock.advance(15_000);
    await settled();
    expect(store.daemonRows.get(incarnation)?.state).toBe('ended');
    await supervisor.detach();
  });

  test('is adopted when its socket answers with the incarnation', async () => {
    const { supervisor, alive, store, feeds } = earlier(interrupted, identity);
    alive();
    await supervisor.adoptAll();
    feeds[0]?.sync();
    expect(store.daemonRows.get(incarnation)).toMatchObject({ pid: 77, state: 'ready' });
    expect(supervisor.endpointOf(WORKSPACE.id)).toMatchObject({ incarnation });
    await supervisor.detach();
  });
});
