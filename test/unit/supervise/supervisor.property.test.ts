// Whatever happens in whatever order: one process at a time, every waiter answered once, no stranger signalled.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Endpoint } from '../../../coordinator/upstream/endpoint.ts';
import { fleetFixture, WORKSPACE } from '../../support/fleet-fixture.ts';
import { pass, settled } from '../../support/manual-clock.ts';

type Act =
  | { readonly kind: 'demand' | 'stop' | 'listen' | 'refuse' | 'sync' | 'stale_sync' | 'spawn_fails' }
  | { readonly kind: 'abort'; readonly client: number }
  | { readonly kind: 'exit'; readonly code: number }
  | { readonly kind: 'advance'; readonly byMs: number };

interface Client {
  readonly abort: AbortController;
  readonly answers: (Endpoint | Error)[];
}

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 5, arbitrary: fc.constant({ kind: 'demand' as const }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'listen' as const }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'sync' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'stale_sync' as const }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Act>({ kind: 'refuse' }, { kind: 'stop' }, { kind: 'spawn_fails' }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('abort' as const), client: fc.nat(8) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('exit' as const), code: fc.nat(1) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('advance' as const),
      byMs: fc.constantFrom(1, 500, 4000, 20_000, 45_000, 90_000),
    }),
  },
);

/** A second incarnation is some eight acts away, so short runs alone would test little. */
const LONG = { maxLength: 60, size: 'max' } as const;

function world() {
  const fixture = fleetFixture({ maxWaiters: 4 });
  const { launcher, supervisor, clock, feeds } = fixture;
  const clients: Client[] = [];
  const stops: Promise<void>[] = [];
  // Collected, not thrown: an error inside a start would pass for a failed start.
  const violations: string[] = [];
  launcher.onStart = (process) => {
    const isAwaited = clients.some(({ abort, answers }) => answers.length === 0 && !abort.signal.aborted);
    if (!isAwaited) violations.push(`${process.incarnation} was started for nobody`);
    if (launcher.alive.length > 1) violations.push(`${process.incarnation} was started as a second one`);
    process.onSignal = (signalled) => {
      if (signalled !== launcher.last) violations.push(`${signalled.incarnation} was a stranger`);
    };
  };

  const demand = () => {
    const client: Client = { abort: new AbortController(), answers: [] };
    clients.push(client);
    supervisor.ensureReady(WORKSPACE, client.abort.signal).then(
      (endpoint) => client.answers.push(endpoint),
      (error) => client.answers.push(error),
    );
  };
  const acts = {
    demand,
    stop: () => void stops.push(supervisor.stop(WORKSPACE.id, { reason: 'asked', kind: 'stopped' })),
    listen: () => launcher.daemons.at(-1)?.listen(),
    refuse: () => launcher.daemons.at(-1)?.refuse('no'),
    sync: () => {
      const feed = feeds.at(-1);
      if (feed?.isClosed === false) feed.sync();
    },
    stale_sync: () => feeds[0]?.sync(),
    spawn_fails: () => {
      launcher.startError = launcher.startError === undefined ? new Error('no process') : undefined;
    },
  };
  const run = async (next: Act) => {
    if (next.kind === 'abort') clients[next.client]?.abort.abort(new Error('client gone'));
    else if (next.kind === 'exit') launcher.alive[0]?.exit({ code: next.code });
    else if (next.kind === 'advance') await pass(clock, next.byMs, 15_000);
    else acts[next.kind]();
  };
  return { ...fixture, clients, stops, violations, run };
}

test('no order of events starts two processes, loses a waiter or signals a stranger', async () => {
  const step = fc.tuple(act, fc.boolean());
  await fc.assert(
    fc.asyncProperty(fc.array(step, LONG), async (steps) => {
      const { run, clients, stops, violations, launcher, supervisor, clock, settings } = world();
      await supervisor.adoptAll();
      for (const [next, isSettledAfter] of steps) {
        await run(next);
        if (isSettledAfter) await settled();
        const endpoint = supervisor.endpointOf(WORKSPACE.id);
        if (isSettledAfter && endpoint !== undefined)
          expect(endpoint.incarnation).toBe(launcher.alive[0]?.incarnation);
      }
      // Whoever still waits leaves at its deadline at the latest; a fresh start on the way changes nothing of that.
      clock.advance(settings.waiterDeadlineMs);
      await settled();
      expect(clients.map(({ answers }) => answers.length)).toEqual(clients.map(() => 1));
      for (const process of launcher.daemons) process.exit();
      await settled();
      for (const process of launcher.daemons) process.exit();
      await Promise.all(stops);
      await supervisor.detach();
      expect([...violations, ...launcher.breaches]).toEqual([]);
      expect(clock.pending).toBe(0);
      expect(launcher.alive).toHaveLength(0);
    }),
    { numRuns: 300 },
  );
});

test('a waiter is given the endpoint of the incarnation that is ready, and of no other', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, LONG), async (acts) => {
      const { run, clients, launcher, supervisor, feeds } = world();
      for (const next of acts) {
        const before = clients.map(({ answers }) => answers.length);
        await run(next);
        await settled();
        const given = clients
          .filter((_client, index) => before[index] !== 1)
          .flatMap(({ answers }) => answers)
          .filter((answer) => 'address' in answer);
        for (const { incarnation } of given) {
          expect(incarnation).toBe(launcher.alive[0]?.incarnation);
          expect(feeds.at(-1)).toMatchObject({ isUp: true, target: { incarnation } });
        }
      }
      for (const process of launcher.daemons) process.exit();
      await settled();
      await supervisor.detach();
    }),
    { numRuns: 300 },
  );
});
