import { expect, test } from '@jest/globals';
import { createEventJournal } from '../../../coordinator/supervise/records/event-journal.ts';
import { lastExitOf } from '../../../coordinator/supervise/records/last-exit.ts';
import { recoverLostDaemons } from '../../../coordinator/supervise/supervisor/lost-daemons.ts';
import { fail } from '../../../daemon/contract/errors.ts';
import { FakeStore } from '../../support/fake-store.ts';
import { fleetFixture, silentLog, stays, WORKSPACE } from '../../support/fleet-fixture.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLauncher, memoryHandle } from '../../support/memory-launcher.ts';

function recorder() {
  const store = new FakeStore();
  const clock = new ManualClock();
  const journal = createEventJournal({ store, clock, log: silentLog });
  const refusals = () =>
    store.events
      .story(WORKSPACE.id, 100)
      .filter(({ kind }) => kind === 'request_refused')
      .reverse();
  return { store, clock, journal, refusals };
}

const unavailable = fail('workspace_runtime_unavailable', 'it is starting');

test('a storm of refusals becomes two rows a minute and kind', () => {
  const { clock, journal, refusals } = recorder();
  for (let n = 0; n < 500; n++) journal.refused(WORKSPACE.id, unavailable);
  journal.refused(WORKSPACE.id, fail('init_timeout', 'late'));
  expect(refusals().map(({ detail }) => [detail.code, detail.count])).toEqual([
    ['workspace_runtime_unavailable', 1],
    ['init_timeout', 1],
  ]);
  clock.advance(59_000);
  journal.flush();
  expect(refusals()).toHaveLength(2);
  clock.advance(1000);
  journal.flush();
  journal.flush();
  expect(refusals().map(({ detail }) => detail.count)).toEqual([1, 1, 499]);
});

test('a refusal after its minute begins a new count and writes the old one', () => {
  const { clock, journal, refusals } = recorder();
  for (const _n of [1, 2, 3]) journal.refused(WORKSPACE.id, unavailable);
  clock.advance(61_000);
  journal.refused(WORKSPACE.id, unavailable);
  expect(refusals().map(({ detail }) => detail.count)).toEqual([1, 2, 1]);
});

test('what is no refusal of ours is not counted', () => {
  const { journal, refusals } = recorder();
  for (const error of [new Error('x'), fail('session_not_found', 'x'), fail('rate_limit_exceeded', 'x')])
    journal.refused(WORKSPACE.id, error);
  journal.flush(true);
  expect(refusals()).toEqual([]);
});

test('a store that refuses stands in nobody’s way', () => {
  const { store, journal } = recorder();
  store.refused.add('events.append');
  journal.refused(WORKSPACE.id, unavailable);
  journal.note({ kind: 'x' });
  journal.flush(true);
});

test('one death is one row, with how it died, its last beats and what follows', async () => {
  const { supervisor, launcher, feeds, store } = fleetFixture();
  const ready = supervisor.ensureReady(WORKSPACE, stays);
  launcher.last.listen();
  await Promise.resolve();
  await Promise.resolve();
  feeds[0]?.sync();
  await ready;
  launcher.last.exit({ code: null, signal: 'SIGKILL', lastLines: ['x'.repeat(2000)] });
  await launcher.last.exited;
  await Promise.resolve();
  const ends = store.events.story(WORKSPACE.id, 100).filter(({ kind }) => /died|ended|stopped/.test(kind));
  expect(ends).toHaveLength(1);
  expect(ends[0]).toMatchObject({
    kind: 'daemon_died',
    detail: {
      signal: 'SIGKILL',
      isUnasked: true,
      wasReady: true,
      beats: [{ rssBytes: 1, agentRssBytes: 1 }],
      next: { state: 'backoff', afterMs: 500, deaths: 1, intensity: 5, periodMs: 60_000 },
    },
  });
  expect(JSON.stringify(ends[0]?.detail.lastLines).length).toBeLessThan(600);
  expect(lastExitOf(store, WORKSPACE.id)).toMatchObject({ signal: 'SIGKILL', code: null });
});

test('the last exit is known to a coordinator that began after it', () => {
  const store = new FakeStore();
  store.events.append({
    kind: 'daemon_died',
    workspaceId: WORKSPACE.id,
    detail: { cause: 'it did not beat', code: 7, signal: null, lastLines: ['help'], isUnasked: false },
  });
  const { supervisor } = fleetFixture({}, {}, store);
  void supervisor.ensureReady(WORKSPACE, stays);
  expect(supervisor.view(WORKSPACE.id)?.lastExit).toMatchObject({
    code: 7,
    reason: 'it did not beat',
    lastLines: ['help'],
  });
});

test('a lost daemon gets its row and workspace back; a dead one is buried', async () => {
  const store = new FakeStore();
  const launcher = new MemoryLauncher();
  const note = {
    incarnation: `${WORKSPACE.id}-4`,
    workspaceId: WORKSPACE.id,
    workspacePath: WORKSPACE.path,
    handle: memoryHandle(`${WORKSPACE.id}-4`),
    secret: 'only-between-us',
    createdAtMs: 1,
    isRunning: true,
    facts: { pid: 4711 },
  };
  const buried: string[] = [];
  launcher.notes = [
    note,
    { ...note, incarnation: `${WORKSPACE.id}-3`, isRunning: false, facts: { pid: null } },
  ];
  const adopt = launcher.adopt.bind(launcher);
  launcher.adopt = (known) => {
    buried.push(known.incarnation);
    return adopt(known);
  };
  await recoverLostDaemons({ store, launcher, clock: new ManualClock(), log: silentLog })();
  expect(store.workspaces.list()).toMatchObject([{ id: WORKSPACE.id, path: WORKSPACE.path }]);
  expect(store.daemons.unended()).toMatchObject([
    {
      incarnation: note.incarnation,
      state: 'starting',
      launchHandle: note.handle,
      secret: 'only-between-us',
    },
  ]);
  expect(store.eventRows.at(-1)).toMatchObject({ kind: 'daemon_recovered', detail: { pid: 4711 } });
  expect(store.daemons.nextIncarnation(WORKSPACE.id)).toBe(`${WORKSPACE.id}-5`);
  expect(buried).toEqual([`${WORKSPACE.id}-3`]);
  expect(launcher.lost(() => 'known')).toEqual([]);
});
