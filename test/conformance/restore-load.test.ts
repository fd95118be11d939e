// Load and resume as the protocol has them, one test a rule, over agents that tell their past in every way there is.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '../support/eventually.ts';
import { endFleets } from '../support/fleet-process.ts';
import { openStream, streamFrom } from '../support/sse-stream.ts';
import { call, newSession, sendPrompt } from '../support/wire-client.ts';
import { AGENTS, RestoreWorld, storyOf } from './restore-kit.ts';

afterAll(endFleets);

const TURNS = ['N:3:10', 'hello'];

describe.each(Object.entries(AGENTS))('with an agent %s', (name, switches) => {
  const world = new RestoreWorld(switches);
  const isOurs = name.startsWith('recorded');
  const canResume = name.endsWith('can resume');
  let sessionId: string;

  beforeAll(async () => {
    await world.start();
    sessionId = await world.lived(...TURNS);
    await world.close(sessionId);
  });

  test('a closed session comes back with its finished turns, texts merged, and can be gone on with', async () => {
    const loaded = await world.load(sessionId);
    const said = storyOf(loaded.compactedReplay).filter((words) => !words.startsWith('turn_complete'));
    expect(said[0]).toBe('user N:3:10');
    expect(said[1]).toMatch(/^agent 0@[\d.]+\|x*1@[\d.]+\|x*2@[\d.]+\|x*$/);
    expect(said.slice(2)).toEqual(['user hello', 'agent echo: hello']);
    expect(loaded).toMatchObject({ sessionId, attached: false, liveJournal: [] });
    expect(loaded.state).toHaveProperty('models');
    expect(loaded.state).not.toHaveProperty(['_meta', 'qwen.session.loadReplay']);
    await world.turn(sessionId, 'again', loaded.clientId);
    const again = await world.load(sessionId);
    expect(storyOf(again.compactedReplay)).toEqual([
      ...storyOf(loaded.compactedReplay),
      'user again',
      'agent echo: again',
      'turn_complete end_turn',
    ]);
    await world.close(sessionId);
  });

  test('ends of turns are in the replay where we recorded them, and among the ends in any case', async () => {
    const loaded = await world.load(sessionId);
    const ends = storyOf(loaded.compactedReplay).filter((words) => words.startsWith('turn_complete'));
    expect(ends.length > 0).toBe(isOurs);
    expect((loaded.promptTerminals ?? []).length).toBeGreaterThan(0);
    await world.close(sessionId);
  });

  test('nothing of the past is published: the ring is empty, and a cursor into it has to load again', async () => {
    const loaded = await world.load(sessionId);
    expect(loaded.lastEventId).toBeGreaterThan(0);
    const stream = await openStream(world.base, sessionId, { headers: { 'last-event-id': '1' } });
    const resync = await stream.event('state_resync_required');
    expect(resync.data).toMatchObject({ reason: 'seeded_replay_not_in_ring' });
    stream.close();
    const fine = await streamFrom(world.base, sessionId, loaded);
    const { promptId } = await sendPrompt(world.base, sessionId, 'more', loaded.clientId);
    const first = await fine.event('session_update');
    expect(first).toMatchObject({ id: loaded.lastEventId + 1, promptId });
    fine.close();
    await eventually('the end of the turn', async () => {
      const status = await call(world.base, 'GET', `/session/${sessionId}/status`);
      return status.json.hasActivePrompt === false;
    });
    await world.close(sessionId);
  });

  test('a session of an earlier daemon comes back too', async () => {
    const before = storyOf((await world.load(sessionId)).compactedReplay);
    await world.restart();
    const loaded = await world.load(sessionId);
    expect(storyOf(loaded.compactedReplay)).toEqual(
      isOurs ? before : before.filter((words) => !words.startsWith('turn_complete')),
    );
    await world.close(sessionId);
  });

  test('resume answers without a replay, and a load behind it says that there is more', async () => {
    const answer = await world.post(sessionId, 'resume');
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({ attached: false, eventEpoch: expect.any(String) });
    expect(answer.json).not.toHaveProperty('compactedReplay');
    expect(answer.json).not.toHaveProperty('liveJournal');
    const loaded = await world.load(sessionId);
    expect(loaded).toMatchObject({ attached: true, lastEventId: answer.json.lastEventId });
    // Without a resume of its own an agent is asked to load, and tells everything; a real one tells nothing.
    expect(loaded.compactedReplay.length > 0).toBe(!canResume);
    expect(loaded.historyHasMore).toBe(canResume ? true : undefined);
    await world.close(sessionId);
  });

  test('a page of the past has no ids, and says where the rest is', async () => {
    const loaded = await world.load(sessionId, { historyPageSize: 2 });
    expect(loaded.compactedReplay).toHaveLength(2);
    expect(loaded.compactedReplay.every((event) => event.id === undefined)).toBe(true);
    expect(loaded.historyHasMore).toBe(true);
    if (isOurs) expect(loaded.historyAnchorRecordId).toMatch(/^\d+$/);
    await world.close(sessionId);
  });
});

describe('a recorded agent and one that keeps its own', () => {
  test('give the same replay', async () => {
    const stories = [];
    for (const switches of [AGENTS['recorded, streaming'], AGENTS['keeping its own, in bulk']]) {
      const world = await new RestoreWorld(switches).start();
      const sessionId = await world.lived(
        'hello',
        'update:{"sessionUpdate":"tool_call","toolCallId":"t","title":"x"} ; update:{"sessionUpdate":"available_commands_update","availableCommands":[]} ; bye',
      );
      await world.close(sessionId);
      const { compactedReplay } = await world.load(sessionId);
      // An agent's own past knows no ends of turns, and nothing of what was told of the present.
      const told = compactedReplay.filter(({ type }) => type === 'session_update');
      stories.push(
        told.map(({ data }) => (data as { update: Record<string, unknown> }).update).map(withoutMeta),
      );
    }
    expect(stories[1]).toEqual(stories[0]);
    expect(stories[0]).toHaveLength(5);
  });
});

/** The bridge marks the user's words as its own echo. */
function withoutMeta({ _meta: _, ...update }: Record<string, unknown>) {
  return update;
}

describe('a live session', () => {
  const world = new RestoreWorld([]);
  beforeAll(() => world.start());

  test('is attached to: a new client id, no state, the journal of the turn that runs', async () => {
    const { sessionId, clientId } = await newSession(world.base);
    await world.turn(sessionId, 'first', clientId);
    await sendPrompt(world.base, sessionId, 'N:2:10 ; permission ; after', clientId);
    await eventually('the question', async () => {
      const status = await call(world.base, 'GET', `/session/${sessionId}/status`);
      return status.json.isWaitingForPermission === true;
    });
    const loaded = await world.load(sessionId);
    expect(loaded).toMatchObject({ attached: true, state: {}, hasActivePrompt: true });
    expect(loaded.clientId).not.toBe(clientId);
    expect(storyOf(loaded.compactedReplay)).toEqual([
      'user first',
      'agent echo: first',
      'turn_complete end_turn',
    ]);
    expect(storyOf(loaded.liveJournal)).toEqual([
      'user N:2:10 ; permission ; after',
      expect.stringMatching(/^agent 0@.*1@/),
      'permission_request',
    ]);
    const stream = await streamFrom(world.base, sessionId, loaded);
    const asked = loaded.liveJournal.at(-1)?.data as { requestId: string } | undefined;
    await call(world.base, 'POST', `/permission/${asked?.requestId}`, {
      json: { outcome: { outcome: 'selected', optionId: 'allow' } },
    });
    await stream.event('turn_complete');
    const told = stream.envelopes.filter(({ id }) => id !== undefined);
    expect(told[0]?.id).toBe(loaded.lastEventId + 1);
    expect(storyOf(told)).toEqual([
      'permission_resolved',
      expect.stringMatching(/^agent {.*allow/),
      'agent echo: after',
      'turn_complete end_turn',
    ]);
    stream.close();
  });

  test('keeps the client id that it knows', async () => {
    const { sessionId, clientId } = await newSession(world.base);
    const answer = await world.post(sessionId, 'resume', {}, clientId);
    expect(answer.json.clientId).toBe(clientId);
  });

  test('in summary shows no thoughts and no tool at work', async () => {
    const update = (fields: object) => `update:${JSON.stringify(fields)}`;
    const sessionId = await world.lived(
      [
        update({ sessionUpdate: 'agent_thought_chunk', content: { type: 'text', text: 'hm' } }),
        update({ sessionUpdate: 'tool_call', toolCallId: 't', title: 'x' }),
        update({ sessionUpdate: 'tool_call_update', toolCallId: 't', status: 'in_progress' }),
        update({ sessionUpdate: 'tool_call_update', toolCallId: 't', status: 'completed' }),
      ].join(' ; '),
    );
    const full = await world.load(sessionId);
    const summary = await world.load(sessionId, { compactedReplayMode: 'summary' });
    expect(full.compactedReplay).toHaveLength(6);
    expect(storyOf(summary.compactedReplay).slice(1)).toEqual([
      'tool_call',
      'tool_call_update',
      'turn_complete end_turn',
    ]);
  });
});

test('a transcript that cannot be written is told once, and the session goes on', async () => {
  const world = new RestoreWorld([]);
  // A file where the directory of transcripts would be stops root too.
  mkdirSync(join(world.scratch.dir, 'home', '.local', 'state'), { recursive: true });
  writeFileSync(join(world.scratch.dir, 'home', '.local', 'state', 'qwen-daemon'), '');
  await world.start();
  const { sessionId, clientId } = await newSession(world.base);
  const stream = await openStream(world.base, sessionId, {
    query: '?snapshot=1',
    headers: { 'last-event-id': '0' },
  });
  const snapshot = await stream.event('session_snapshot');
  expect(snapshot.data).toMatchObject({ recordingDegraded: true });
  for (let i = 0; i < 2; i++) await world.turn(sessionId, 'hello', clientId);
  expect(stream.ofType('session_recording_degraded').map(({ data }) => data)).toEqual([
    { sessionId, reason: 'write_failed' },
  ]);
  expect(stream.texts).toEqual(['echo: hello', 'echo: hello']);
  stream.close();
});
