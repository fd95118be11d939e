import { describe, expect, test } from '@jest/globals';
import type { DaemonView, FleetStop } from '../../../coordinator/supervise/fleet.ts';
import { createEventJournal } from '../../../coordinator/supervise/records/event-journal.ts';
import { Maintenance } from '../../../coordinator/supervise/workspaces/maintenance.ts';
import { FakeStore } from '../../support/fake-store.ts';
import { OTHER_WORKSPACE, silentLog, WORKSPACE } from '../../support/fleet-fixture.ts';
import { ManualClock } from '../../support/manual-clock.ts';

function fixture() {
  const store = new FakeStore();
  for (const { id, path } of [WORKSPACE, OTHER_WORKSPACE])
    store.workspaces.upsert({ id, path, displayName: null, origin: 'static', createdAtMs: 0 });
  const stops: (FleetStop & { readonly id: string })[] = [];
  const restored: string[] = [];
  const broken = new Set<string>();
  /** What the running daemons were started with, by workspace, where it is not the configured command. */
  const others = new Map<string, readonly string[]>();
  const commands: (readonly string[] | undefined)[] = [];
  let command: readonly string[] | undefined;
  const make = () =>
    new Maintenance({
      store,
      journal: createEventJournal({ store, clock: new ManualClock(), log: silentLog }),
      log: silentLog,
      fleet: {
        stop: (id, stop) => {
          stops.push({ id, ...stop });
          return Promise.resolve();
        },
        ensureReady: ({ id }) =>
          broken.has(id) && command === undefined
            ? Promise.reject(new Error('it does not start'))
            : Promise.resolve({
                workspaceId: id,
                incarnation: `${id}-2`,
                address: { kind: 'unix', path: '/s' } as const,
                secret: 'x',
              }),
        otherCommandOf: (id) => others.get(id),
        startWith: (_id, next) => {
          commands.push(next);
          command = next;
          return Promise.resolve();
        },
        views: () =>
          [WORKSPACE, OTHER_WORKSPACE].map((workspace) => ({ workspace, state: 'ready' }) as DaemonView),
      },
      restorable: { add: (id) => void restored.push(id) },
      workspaceById: (id) => [WORKSPACE, OTHER_WORKSPACE].find((workspace) => workspace.id === id),
    });
  return { store, stops, restored, broken, others, commands, make, maintenance: make() };
}

describe('a drain', () => {
  test('refuses new work until it is taken back, and stops the daemon within its limit', async () => {
    const { maintenance, stops } = fixture();
    await maintenance.drain(WORKSPACE.id, 'new disk', 5000);
    expect(maintenance.drainReasonOf(WORKSPACE.id, 'session_create')).toBe('new disk');
    expect(maintenance.drainReasonOf(OTHER_WORKSPACE.id, 'session_create')).toBeUndefined();
    expect(stops).toMatchObject([{ id: WORKSPACE.id, kind: 'stopped', drainMs: 5000 }]);
    maintenance.undrain(WORKSPACE.id);
    expect(maintenance.drainReasonOf(WORKSPACE.id, 'session_create')).toBeUndefined();
  });

  test('outlives the coordinator', async () => {
    const { maintenance, make } = fixture();
    await maintenance.drain(WORKSPACE.id, 'new disk', undefined);
    expect(make().drainReasonOf(WORKSPACE.id, 'session_prompt')).toBe('new disk');
  });
});

describe('a drain that an earlier coordinator began', () => {
  test('is not undone by a restart', async () => {
    const { maintenance, stops } = fixture();
    await maintenance.drain(WORKSPACE.id, 'new disk', undefined);
    stops.length = 0;
    const outcome = await maintenance.restart(WORKSPACE.id, undefined);
    expect(outcome).toEqual({
      workspaceId: WORKSPACE.id,
      ok: false,
      detail: 'it is drained (new disk); undrain it first',
    });
    expect(stops).toEqual([]);
  });
});

describe('a restart', () => {
  test('ends the daemon, starts the next one, and brings the sessions back', async () => {
    const { maintenance, stops, restored } = fixture();
    const outcome = await maintenance.restart(WORKSPACE.id, undefined);
    expect(outcome).toEqual({ workspaceId: WORKSPACE.id, ok: true, detail: `${WORKSPACE.id}-2` });
    expect(stops).toMatchObject([{ kind: 'replaced' }]);
    expect(restored).toEqual([WORKSPACE.id]);
  });

  test('tells prompts to come again while it lasts, and lets creates wait', async () => {
    const { maintenance } = fixture();
    const restart = maintenance.restart(WORKSPACE.id, undefined);
    expect(maintenance.drainReasonOf(WORKSPACE.id, 'session_prompt')).toBeDefined();
    expect(maintenance.drainReasonOf(WORKSPACE.id, 'session_create')).toBeUndefined();
    await restart;
    expect(maintenance.drainReasonOf(WORKSPACE.id, 'session_prompt')).toBeUndefined();
  });

  test('of all goes one by one and stops at the first failure, saying why and what is impossible', async () => {
    const { maintenance, broken, stops } = fixture();
    broken.add(WORKSPACE.id);
    const outcomes = await maintenance.restartAll(1, undefined);
    expect(outcomes).toHaveLength(1);
    expect(outcomes[0]?.detail).toMatch(/it does not start.*rolling back is impossible/i);
    expect(stops.map(({ id }) => id)).toEqual([WORKSPACE.id]);
  });

  test('goes back to the command of the daemon before where the new one does not start, and says so', async () => {
    const { maintenance, broken, others, commands, restored, store } = fixture();
    broken.add(WORKSPACE.id);
    others.set(WORKSPACE.id, ['/old/node', '/old/main.js']);
    const outcome = await maintenance.restart(WORKSPACE.id, undefined);
    expect(outcome).toMatchObject({ ok: false });
    expect(outcome.detail).toMatch(/it does not start\. Rolled back to "\/old\/node \/old\/main\.js"/);
    expect(commands).toEqual([undefined, ['/old/node', '/old/main.js']]);
    expect(restored).toEqual([WORKSPACE.id]);
    expect(store.events.story(WORKSPACE.id, 1)).toMatchObject([{ kind: 'daemon_rolled_back' }]);
  });

  test('of one that is being replaced already is refused', async () => {
    const { maintenance } = fixture();
    const first = maintenance.restart(WORKSPACE.id, undefined);
    expect(await maintenance.restart(WORKSPACE.id, undefined)).toMatchObject({ ok: false });
    await first;
  });
});

test('settings of a workspace are kept, and unset ones are the defaults', () => {
  const { maintenance, store } = fixture();
  expect(maintenance.change(WORKSPACE.id, { isPinned: true })).toMatchObject({
    isPinned: true,
    idleTimeoutMs: null,
  });
  expect(maintenance.change(WORKSPACE.id, { idleTimeoutMs: 9 })).toMatchObject({
    isPinned: true,
    idleTimeoutMs: 9,
  });
  expect(store.workspaces.settings(OTHER_WORKSPACE.id)).toEqual({
    idleTimeoutMs: null,
    isPinned: false,
    holdReason: null,
    holdDrainMs: null,
  });
});
