// The wall clock is set back and forth by a day: nothing that supervision waits for comes sooner or later.
import { afterEach, describe, expect, test } from '@jest/globals';
import { BEAT, fleetFixture, stays, WORKSPACE } from '../support/fleet-fixture.ts';
import { ManualClock, pass } from '../support/manual-clock.ts';
import { memoryHandle } from '../support/memory-launcher.ts';

const DAY_MS = 24 * 60 * 60_000;

/** Its wall clock can be set; what is monotonic is not moved by that. */
class SetClock extends ManualClock {
  jumpMs = 0;

  override nowMs(): number {
    return super.nowMs() + this.jumpMs;
  }
}

const fixtures: { supervisor: { detach(): Promise<void> } }[] = [];
afterEach(async () => {
  for (const { supervisor } of fixtures.splice(0)) await supervisor.detach();
});

function fixtureOn(clock: SetClock, parts: Parameters<typeof fleetFixture>[1] = {}) {
  const fixture = fleetFixture({}, { clock, ...parts });
  fixtures.push(fixture);
  return fixture;
}

async function ready(clock: SetClock, parts: Parameters<typeof fleetFixture>[1] = {}) {
  const fixture = fixtureOn(clock, parts);
  await fixture.supervisor.adoptAll();
  const demand = fixture.supervisor.ensureReady(WORKSPACE, stays);
  await pass(clock, 1, 1);
  fixture.launcher.last.listen();
  await pass(clock, 1, 1);
  fixture.feeds[0]?.sync();
  await demand;
  return fixture;
}

describe.each([
  ['forward', DAY_MS],
  ['back', -DAY_MS],
])('a jump of a day %s', (_, jumpMs) => {
  test('does not end a daemon that beats, nor ask it', async () => {
    const clock = new SetClock();
    let questions = 0;
    const { launcher, feeds, settings } = await ready(clock, {
      askIdentity: () => {
        questions += 1;
        return Promise.resolve(undefined);
      },
    });
    for (let beat = 0; beat < 12; beat += 1) {
      clock.jumpMs = beat % 2 === 0 ? jumpMs : 0;
      feeds[0]?.say({ type: 'beat', beat: BEAT });
      await pass(clock, settings.livenessPeriodMs);
    }
    expect(questions).toBe(0);
    expect(launcher.last.isAlive).toBe(true);
    expect(launcher.last.terminations).toEqual([]);
  });

  test('does not hide a frozen one: it is found when it would have been', async () => {
    const clock = new SetClock();
    const { launcher } = await ready(clock);
    clock.jumpMs = jumpMs;
    await pass(clock, 20_000);
    expect(launcher.last.terminations).toEqual([]);
    await pass(clock, 10_000);
    expect(launcher.last.terminations).toHaveLength(1);
  });

  test('gives a starting daemon its whole time, and no more', async () => {
    const clock = new SetClock();
    const { supervisor, launcher, settings } = fixtureOn(clock);
    await supervisor.adoptAll();
    const demand = supervisor.ensureReady(WORKSPACE, stays).catch((error: Error) => error);
    await pass(clock, 1, 1);
    clock.jumpMs = jumpMs;
    await pass(clock, settings.startTimeoutMs - 1000);
    expect(launcher.last.terminations).toEqual([]);
    await pass(clock, 2000);
    expect(launcher.last.terminations).toHaveLength(1);
    launcher.last.exit({ code: null, signal: 'SIGTERM' });
    await demand;
  });

  test('changes nothing of a backoff', async () => {
    const clock = new SetClock();
    const { supervisor, launcher, settings } = await ready(clock);
    launcher.last.exit({ code: 1 });
    await pass(clock, 1, 1);
    const demand = supervisor.ensureReady(WORKSPACE, stays).catch((error: Error) => error);
    clock.jumpMs = jumpMs;
    await pass(clock, settings.restart.firstBackoffMs - 10, 10);
    expect(launcher.daemons).toHaveLength(1);
    await pass(clock, 20, 10);
    expect(launcher.daemons).toHaveLength(2);
    launcher.last.refuse('not now');
    launcher.last.exit();
    await demand;
  });

  test('does not hold a workspace whose start left no daemon for longer than a start may take', async () => {
    const clock = new SetClock();
    const { supervisor, store, settings, launcher } = fixtureOn(clock);
    store.daemons.insertStarting({
      incarnation: `${WORKSPACE.id}-99`,
      workspaceId: WORKSPACE.id,
      launchHandle: memoryHandle(`${WORKSPACE.id}-99`, false),
      secret: 's',
      createdAtMs: clock.nowMs(),
      startDeadlineAtMs: clock.nowMs() + settings.startTimeoutMs,
    });
    await supervisor.adoptAll();
    clock.jumpMs = jumpMs;
    await pass(clock, settings.startTimeoutMs - 1000);
    await expect(supervisor.ensureReady(WORKSPACE, stays)).rejects.toMatchObject({ status: 503 });
    await pass(clock, settings.reconcilePeriodMs + 1000);
    const demand = supervisor.ensureReady(WORKSPACE, stays).catch((error: Error) => error);
    await pass(clock, 1, 1);
    expect(launcher.daemons).toHaveLength(1);
    launcher.last.refuse('not now');
    launcher.last.exit();
    await demand;
  });
});
