import { describe, expect, test } from '@jest/globals';
import { writeHandle } from '../../../coordinator/launch/handle.ts';
import type { Whereabouts } from '../../../coordinator/launch/launcher.ts';
import type { DaemonIdentity } from '../../../daemon/contract/control.ts';
import type { FeedPrompt } from '../../../daemon/contract/feed.ts';
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
import { GONE, MemoryDaemon, memoryHandle } from '../../support/memory-launcher.ts';

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
  store.addDaemon({ incarnation, workspaceId: WORKSPACE.id, version: '1.9.0', ...row });
  store.sessions.record(WORKSPACE.id, incarnation, sessionOf('s1'));
  let identityAnswer = answer;
  const fixture = fleetFixture(settings, { askIdentity: () => Promise.resolve(identityAnswer) }, store);
  const process = new MemoryDaemon(incarnation);
  const alive = () => fixture.launcher.daemons.push(process);
  const unverifiable = (facts = {}) =>
    fixture.launcher.adoptions.set(incarnation, {
      verdict: 'unverifiable',
      why: 'somebody else answers',
      ...facts,
    });
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
    expect(supervisor.view(WORKSPACE.id)).toMatchObject({ state: 'ready', pid: null, version: '1.9.0' });
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
    const died = store.eventRows.find(({ kind }) => kind === 'daemon_died');
    // What only a coordinator that watched the daemon could say is not said.
    expect(Object.keys(died?.detail ?? {}).sort()).toEqual(
      [
        'cause',
        'code',
        'end',
        'lastLines',
        'next',
        'oomKills',
        'peakBytes',
        'sessions',
        'signal',
        'strays',
      ].sort(),
    );
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
  test('is left alone, and demands and stops are refused naming its pid where its launcher knows one', async () => {
    const { supervisor, unverifiable, launcher, process } = earlier();
    unverifiable({ facts: { pid: 77 } });
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
    let find: (found: Whereabouts) => void = () => {};
    const found = new Promise<Whereabouts>((resolve) => {
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

  test('a workspace with two rows waits for both: one may be gone while the other one’s daemon runs', async () => {
    const fixture = earlier();
    const { supervisor, store, launcher, feeds, recorder } = fixture;
    const newer = `${WORKSPACE.id}-4`;
    store.addDaemon({ incarnation: newer, workspaceId: WORKSPACE.id });
    const process = new MemoryDaemon(newer);
    let find: (found: Whereabouts) => void = () => {};
    launcher.adoptions.set(
      newer,
      new Promise((resolve) => {
        find = resolve;
      }),
    );
    const adopted = supervisor.adoptAll();
    await settled();
    expect(store.daemons.find(incarnation)).toMatchObject({ state: 'ended' });
    const waiting = supervisor.ensureReady(WORKSPACE, stays);
    await settled();
    expect([launcher.specs.length, recorder.find('s1')?.state]).toEqual([0, undefined]);
    find({ verdict: 'alive', process });
    await adopted;
    await settled();
    feeds[0]?.sync();
    expect(await waiting).toMatchObject({ incarnation: newer });
    await supervisor.detach();
  });

  test('a workspace that two rows hold stays held when one of their daemons is gone', async () => {
    const { supervisor, store, launcher, clock, settings } = earlier();
    const newer = `${WORKSPACE.id}-4`;
    store.addDaemon({ incarnation: newer, workspaceId: WORKSPACE.id });
    const unsure: Whereabouts = { verdict: 'unverifiable', why: 'it cannot be asked' };
    for (const held of [incarnation, newer]) launcher.adoptions.set(held, Promise.resolve(unsure));
    await supervisor.adoptAll();
    expect(supervisor.view(WORKSPACE.id)).toMatchObject({ state: 'held' });
    // The next look finds one daemon gone while the other one is still being searched.
    let find: (found: Whereabouts) => void = () => {};
    launcher.adoptions.set(
      incarnation,
      new Promise((resolve) => {
        find = resolve;
      }),
    );
    launcher.adoptions.set(newer, Promise.resolve(GONE));
    clock.advance(settings.reconcilePeriodMs);
    await settled();
    expect(store.daemons.find(newer)).toMatchObject({ state: 'ended' });
    await expect(supervisor.ensureReady(WORKSPACE, stays)).rejects.toMatchObject({ status: 503 });
    expect(launcher.specs).toHaveLength(0);
    find(unsure);
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

describe('a start that was interrupted before its daemon could be noted', () => {
  const launchHandle = memoryHandle(incarnation, false);
  const interrupted = { state: 'starting', launchHandle, address: null, version: null } as const;

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
      startDeadlineAtMs: deadline,
    });
    await supervisor.adoptAll();
    await expect(supervisor.ensureReady(WORKSPACE, stays)).rejects.toMatchObject({ status: 503 });
    await pass(clock, 15_000);
    expect(store.daemonRows.get(incarnation)?.state).toBe('ended');
    await supervisor.detach();
  });

  test('is adopted when its launcher finds the daemon, and all that is known by then is stored', async () => {
    const { supervisor, alive, process, launcher, store, feeds } = earlier(interrupted, identity);
    launcher.tellsAddresses = true;
    process.listen();
    alive();
    await supervisor.adoptAll();
    feeds[0]?.sync();
    expect(store.daemonRows.get(incarnation)).toMatchObject({
      state: 'ready',
      launchHandle: process.handle,
      address: JSON.stringify(process.address),
      version: '2.0.0',
    });
    const { address } = process;
    expect(supervisor.endpointOf(WORKSPACE.id)).toMatchObject({ incarnation, address, secret: 'secret' });
    await supervisor.detach();
  });

  test('holds its workspace while its daemon runs but nobody knows where it answers, and is adopted then', async () => {
    const { supervisor, alive, process, launcher, feeds, clock, settings } = earlier(interrupted, identity);
    launcher.tellsAddresses = true;
    alive();
    await supervisor.adoptAll();
    expect(supervisor.view(WORKSPACE.id)).toMatchObject({
      state: 'held',
      heldWhy: 'it runs and has not said yet where it answers',
    });
    process.listen();
    clock.advance(settings.reconcilePeriodMs);
    await settled();
    feeds[0]?.sync();
    expect(supervisor.endpointOf(WORKSPACE.id)).toMatchObject({ incarnation });
    expect(launcher.specs).toHaveLength(0);
    await supervisor.detach();
  });
});

describe('a handle that is not this launcher’s', () => {
  test.each([
    [
      writeHandle('scheduler', 3, { job: 'j-7' }),
      /^the launcher "scheduler" \(handle version 3\) started it, and this coordinator uses "memory": start .* stop the daemon there$/,
    ],
    [
      writeHandle('memory', 3, { name: incarnation }),
      /^the launcher "memory" of a newer release started it \(handle version 3, this release reads 2\): start that release/,
    ],
    ['no handle at all', /^its launch handle cannot be read \(no handle at all\): put a backup/],
  ])(
    '(%s) holds its workspace and says who wrote it; nothing is signalled or started',
    async (launchHandle, why) => {
      const { supervisor, launcher, process, store } = earlier({ launchHandle });
      launcher.daemons.push(process);
      await supervisor.adoptAll();
      await expect(supervisor.ensureReady(WORKSPACE, stays)).rejects.toMatchObject({ status: 503 });
      expect(supervisor.view(WORKSPACE.id)).toMatchObject({
        state: 'held',
        pid: null,
        heldWhy: expect.stringMatching(why),
      });
      expect(store.eventRows).toContainEqual(
        expect.objectContaining({
          kind: 'workspace_held',
          detail: { pid: null, why: expect.stringMatching(why) },
        }),
      );
      expect([launcher.specs, process.terminations, process.kills]).toEqual([[], [], 0]);
      expect(store.daemonRows.get(incarnation)).toMatchObject({ state: 'ready', secret: 'secret' });
      await supervisor.detach();
    },
  );
});

describe('the next coordinator', () => {
  /** A coordinator that is gone without a word, as after kill -9: its daemons and its store are all that is left. */
  async function left(reached: 'started' | 'listening' | 'ready') {
    const first = fleetFixture();
    const { launcher, store, supervisor } = first;
    void supervisor.ensureReady(WORKSPACE, stays).catch(() => {});
    await settled();
    if (reached !== 'started') launcher.last.listen();
    await settled();
    if (reached === 'ready') first.feeds.at(-1)?.sync();
    const next = fleetFixture({}, { launcher }, store);
    return { ...next, daemon: launcher.last };
  }

  test.each(['listening', 'ready'] as const)(
    'takes over a daemon that was %s, though its launcher knows neither pid nor address',
    async (reached) => {
      const { supervisor, feeds, launcher, daemon } = await left(reached);
      await supervisor.adoptAll();
      feeds[0]?.sync();
      const { incarnation: id, address } = daemon;
      expect(supervisor.endpointOf(WORKSPACE.id)).toMatchObject({ incarnation: id, address });
      expect(supervisor.view(WORKSPACE.id)).toMatchObject({ state: 'ready', pid: null });
      expect([launcher.daemons.length, daemon.terminations.length]).toEqual([1, 0]);
      await supervisor.detach();
    },
  );

  test('starts no second daemon beside one that was killed before it could listen', async () => {
    const { supervisor, feeds, launcher, daemon, clock, settings } = await left('started');
    launcher.tellsAddresses = true;
    await supervisor.adoptAll();
    await expect(supervisor.ensureReady(WORKSPACE, stays)).rejects.toMatchObject({ status: 503 });
    daemon.listen();
    clock.advance(settings.reconcilePeriodMs);
    await settled();
    feeds[0]?.sync();
    expect(await supervisor.ensureReady(WORKSPACE, stays)).toMatchObject({ address: daemon.address });
    expect(launcher.daemons).toHaveLength(1);
    await supervisor.detach();
  });

  test('ends the row of a start that no daemon came of, and starts afresh', async () => {
    const first = fleetFixture();
    first.launcher.onStart = () => {
      throw new Error('killed here, behind the commit');
    };
    first.store.refused.add('daemons.setEnded');
    await expect(first.supervisor.ensureReady(WORKSPACE, stays)).rejects.toThrow();
    first.store.refused.clear();
    const { supervisor, launcher, store, clock, settings } = fleetFixture({}, {}, first.store);
    await supervisor.adoptAll();
    await expect(supervisor.ensureReady(WORKSPACE, stays)).rejects.toMatchObject({ status: 503 });
    await pass(clock, settings.startTimeoutMs + settings.reconcilePeriodMs);
    expect(store.daemonRows.get(`${WORKSPACE.id}-1`)).toMatchObject({
      state: 'ended',
      endReason: 'no process was ever made for it',
    });
    void supervisor.ensureReady(WORKSPACE, stays).catch(() => {});
    expect(launcher.last.incarnation).toBe(`${WORKSPACE.id}-2`);
    await supervisor.detach();
  });
});
