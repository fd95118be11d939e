import { expect, test } from '@jest/globals';
import { RestorableWorkspaces } from '../../../coordinator/supervise/restorable-workspaces.ts';
import { fleetFixture, sessionOf, stays, WORKSPACE } from '../../support/fleet-fixture.ts';
import { settled } from '../../support/manual-clock.ts';

const AGENT = { pid: 9, pgid: 9, startTime: 1 };

/** A ready daemon with one session dies; returns what a subscriber was called with, and whether a route was open then. */
async function afterDeath(canLoad: boolean) {
  const restorable = new RestorableWorkspaces();
  const fixture = fleetFixture({}, { restorable });
  const calls: { readonly workspaceId: string; readonly hasRoute: boolean }[] = [];
  restorable.subscribe((workspaceId) => {
    calls.push({ workspaceId, hasRoute: fixture.supervisor.endpointOf(workspaceId) !== undefined });
  });
  const waiting = fixture.supervisor.ensureReady(WORKSPACE, stays);
  fixture.launcher.last.listen();
  await settled();
  fixture.feeds[0]?.sync({ sessions: [sessionOf('s1')], agent: { ...AGENT, canLoad } });
  await waiting;
  fixture.launcher.last.exit({ code: 1 });
  await settled();
  await new Promise((resolve) => setImmediate(resolve));
  return { calls, state: fixture.recorder.find('s1')?.state };
}

test('the death of a daemon whose agent can load makes its workspace restorable, once its route is withdrawn', async () => {
  expect(await afterDeath(true)).toEqual({
    calls: [{ workspaceId: WORKSPACE.id, hasRoute: false }],
    state: 'restoring',
  });
});

test('the death of a daemon whose sessions cannot come back makes nothing restorable', async () => {
  expect(await afterDeath(false)).toEqual({ calls: [], state: undefined });
});

test('every subscriber is called, and a workspace that was added before a subscription is not repeated', () => {
  const restorable = new RestorableWorkspaces();
  const [first, second]: [string[], string[]] = [[], []];
  restorable.subscribe((workspaceId) => void first.push(workspaceId));
  restorable.add('a');
  restorable.subscribe((workspaceId) => void second.push(workspaceId));
  restorable.add('b');
  expect([first, second]).toEqual([['a', 'b'], ['b']]);
});
