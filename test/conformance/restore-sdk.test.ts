// The stock client's own way back into a session, with a past larger than every bound: load, render what came with it,
// subscribe from its cursor. Nothing may be missing and nothing told twice.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DaemonClient, type DaemonEvent, DaemonSessionClient } from '@qwen-code/sdk/daemon';
import { eventually } from '../support/eventually.ts';
import { endFleets } from '../support/fleet-process.ts';
import { AGENTS, RestoreWorld } from './restore-kit.ts';

afterAll(endFleets);

const SMALL = [
  ['--compacted-replay-max-bytes', '20000'],
  ['--max-journal-events', '64'],
  ['--event-ring-size', '200'],
  ['--recording-max-bytes', '65536'],
].flat();

/** The numbers of the agent's chunks, in the order in which a reader renders them. */
function numbersIn(events: readonly DaemonEvent[]): number[] {
  return events.flatMap(({ type, data }) => {
    if (type !== 'session_update') return [];
    const { update } = data as { update: { sessionUpdate: string; content?: { text?: string } } };
    if (update.sessionUpdate !== 'agent_message_chunk') return [];
    return [...(update.content?.text ?? '').matchAll(/(\d+)@[\d.]+\|/g)].map((match) => Number(match[1]));
  });
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

const KINDS = ['recorded', 'keeping its own, streaming', 'keeping its own, in bulk'] as const;

describe.each(KINDS)('the stock client, with an agent %s', (kind) => {
  const world = new RestoreWorld(AGENTS[kind], SMALL);
  let client: DaemonClient;

  beforeAll(async () => {
    await world.start();
    client = new DaemonClient({ baseUrl: world.base });
  });

  /** Loads in the middle of a flood of numbered chunks and follows it to its end. */
  async function joinMidway(chunks: number) {
    const host = await DaemonSessionClient.createOrAttach(client, { sessionScope: 'thread' });
    for (let i = 0; i < 15; i++) await world.turn(host.sessionId, `N:5:500 ; turn ${i}`, host.clientId);
    await host.submitPrompt({ prompt: [{ type: 'text', text: `N:${chunks}:60:8` }] });
    await new Promise((resolve) => setTimeout(resolve, 800));
    const loaded = await DaemonSessionClient.load(client, host.sessionId);
    const { compactedReplay, liveJournal } = loaded.consumeReplaySnapshot();
    const live: DaemonEvent[] = [];
    for await (const event of loaded.events()) {
      live.push(event);
      if (event.type === 'turn_complete') break;
    }
    return { loaded, compactedReplay, liveJournal, live };
  }

  test('joins a running turn without a gap and without a repetition', async () => {
    const { loaded, compactedReplay, liveJournal, live } = await joinMidway(260);
    expect(live.map(({ type }) => type)).not.toContain('state_resync_required');
    expect(numbersIn([...liveJournal, ...live])).toEqual(upTo(260));
    expect(numbersIn(liveJournal).length).toBeGreaterThan(0);
    expect(numbersIn(live).length).toBeGreaterThan(0);
    expect(compactedReplay[0]).toMatchObject({
      type: 'history_truncated',
      data: { reason: 'replay_window_exceeded', maxBytes: 20_000 },
    });
    expect(loaded.historyHasMore).toBe(true);
    await loaded.close();
  });

  test('comes back to a closed session, and goes on in it', async () => {
    const host = await DaemonSessionClient.createOrAttach(client, { sessionScope: 'thread' });
    for (let i = 0; i < 20; i++) await world.turn(host.sessionId, `N:10:500 ; turn ${i}`, host.clientId);
    await host.close();
    const loaded = await DaemonSessionClient.load(client, host.sessionId);
    const { compactedReplay, liveJournal } = loaded.consumeReplaySnapshot();
    expect(loaded.replaySnapshotComplete).toBe(true);
    expect(liveJournal).toEqual([]);
    expect(compactedReplay[0]).toMatchObject({
      type: 'history_truncated',
      // Our recording has been cut to its bound by now.
      data: { fullTranscriptAvailable: kind !== 'recorded' },
    });
    expect(compactedReplay.slice(-3).some((event) => JSON.stringify(event).includes('turn 19'))).toBe(true);
    expect(numbersIn(compactedReplay).slice(-10)).toEqual(upTo(10));
    const live: DaemonEvent[] = [];
    const read = (async () => {
      for await (const event of loaded.events()) {
        live.push(event);
        if (event.type === 'turn_complete') break;
      }
    })();
    await loaded.submitPrompt({ prompt: [{ type: 'text', text: 'N:3:20' }] });
    await read;
    expect(numbersIn(live)).toEqual(upTo(3));
    const ids = live.flatMap(({ id }) => id ?? []);
    expect(Math.min(...ids)).toBeGreaterThan(0);
    await loaded.close();
  });

  test('heals a client id that a restart made unknown, with its next prompt', async () => {
    const host = await DaemonSessionClient.createOrAttach(client, { sessionScope: 'thread' });
    await host.prompt({ prompt: [{ type: 'text', text: 'before' }] });
    const { sessionId } = host;
    await host.close();
    await client.loadSession(sessionId, {});
    const answer = await eventually('the turn', async () =>
      host.prompt({ prompt: [{ type: 'text', text: 'after' }] }).catch(() => undefined),
    );
    expect(answer).toMatchObject({ stopReason: 'end_turn' });
    await host.close();
  });
});
