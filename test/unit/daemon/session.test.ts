// One session: what a status shows of it, what clients may change, and what the coordinator stores.
import { describe, expect, test } from '@jest/globals';
import { AgentCallError } from '../../../daemon/agent/agent.ts';
import { summaryOf } from '../../../daemon/session/summary.ts';
import { settled } from '../../support/manual-clock.ts';
import { SessionParts } from '../../support/session-parts.ts';

describe('the summary', () => {
  test('of a fresh session', () => {
    const parts = new SessionParts();
    expect(summaryOf(parts.session)).toMatchObject({
      sessionId: 's-1',
      workspaceCwd: '/ws',
      createdAt: new Date(parts.clock.nowMs()).toISOString(),
      clientCount: 0,
      hasActivePrompt: false,
      activeWorkState: 'idle',
      hasRunningBackgroundTasks: false,
      isWaitingForPermission: false,
      pendingInteractionCount: 0,
      hasTurnError: false,
      pendingInteractions: [],
    });
    expect(summaryOf(parts.session)).not.toHaveProperty('turnError');
  });

  test('shows the turn, its questions without what a person cannot use, and the work that is held', () => {
    const parts = new SessionParts();
    parts.join('ann');
    parts.prompt('hello', 'ann');
    const { requestId } = parts.ask({
      toolCall: { toolCallId: 'c', kind: 'edit', title: 'Edit', rawInput: { path: 'x' }, secretField: 1 },
    });
    parts.session.backgroundWorkReported([{ category: 'task', id: '1' }]);
    expect(summaryOf(parts.session)).toMatchObject({
      clientCount: 1,
      hasActivePrompt: true,
      activeWorkState: 'active',
      hasRunningBackgroundTasks: true,
      isWaitingForPermission: true,
      pendingInteractionCount: 1,
    });
    expect(summaryOf(parts.session).pendingInteractions).toEqual([
      {
        requestId,
        kind: 'permission',
        createdAt: new Date(parts.clock.nowMs()).toISOString(),
        action: { type: 'edit', title: 'Edit', input: { path: 'x' } },
        options: [
          { optionId: 'allow', label: 'Allow', kind: 'allow_once' },
          { optionId: 'reject', label: 'Reject', kind: 'reject_once' },
        ],
      },
    ]);
  });

  test('shows the last turn’s error until a turn succeeds', async () => {
    const parts = new SessionParts();
    parts.prompt();
    parts.channel.next('session/prompt').fail(new AgentCallError(-1, 'bad'));
    await settled();
    expect(summaryOf(parts.session)).toMatchObject({
      hasTurnError: true,
      turnError: { message: 'bad', code: '-1' },
    });
    parts.prompt();
    parts.channel.next('session/prompt').answer({});
    await settled();
    expect(summaryOf(parts.session)).toMatchObject({ hasTurnError: false });
  });
});

describe('metadata', () => {
  test('are told to all with the client that changed them, and kept', () => {
    const parts = new SessionParts();
    const pr = { number: 7, url: 'https://example.org/7' };
    parts.session.metadata.patch({ displayName: 'A' }, 'ann');
    const current = parts.session.metadata.patch({ pr }, undefined);
    expect(current).toEqual({ sessionId: 's-1', displayName: 'A', prs: [pr] });
    expect(parts.events).toMatchObject([
      {
        type: 'session_metadata_updated',
        originatorClientId: 'ann',
        data: { sessionId: 's-1', displayName: 'A', titleSource: 'manual' },
      },
      { type: 'session_metadata_updated', data: { displayName: 'A', prs: [pr] } },
    ]);
    expect(parts.events[1]?.data).not.toHaveProperty('titleSource');
    expect(summaryOf(parts.session)).toMatchObject({ displayName: 'A', prs: [pr] });
    expect(parts.session.feedSession(true)).toMatchObject({ displayName: 'A', isDefault: true });
  });

  test('that change nothing are told to nobody', () => {
    const parts = new SessionParts();
    expect(parts.session.metadata.patch({}, undefined)).toEqual({ sessionId: 's-1' });
    expect(parts.events).toEqual([]);
  });
});

describe('signs of life', () => {
  test('of an unknown client are refused before anything moves', () => {
    const parts = new SessionParts();
    const before = parts.session.lastActivityAtMs;
    parts.clock.advance(1000);
    expect(() => parts.session.checkClient('mallory')).toThrow('not registered');
    expect(parts.session.lastActivityAtMs).toBe(before);
  });

  test('are heartbeats and steps of prompts, not what the agent says', () => {
    const parts = new SessionParts();
    const { session, clock } = parts;
    parts.join('ann');
    clock.advance(10);
    expect(session.touch('ann')).toBe(clock.nowMs());
    expect(session.feedSession(false)).toMatchObject({
      lastSeenAtMs: clock.nowMs(),
      clients: [{ clientId: 'ann', count: 1, lastSeenAtMs: clock.nowMs() }],
    });
    clock.advance(10);
    parts.prompt();
    const atPrompt = clock.nowMs();
    clock.advance(10);
    session.agentUpdate({ sessionId: 's-1', update: {} });
    expect(session.lastActivityAtMs).toBe(atPrompt);
  });
});

test('a session holds the agent back for its slow readers, and lets go of it at its end', async () => {
  const parts = new SessionParts({ limits: { eventRingSize: 10 } });
  const reader = { pump: () => undefined, claimsPause: () => true };
  parts.session.bus.attach(reader);
  parts.session.agentUpdate({ sessionId: 's-1', update: {} });
  await settled();
  expect(parts.channel.pauses).toBe(1);
  parts.session.close('client_close');
  expect([parts.channel.pauses, parts.channel.pausesEver]).toEqual([0, 1]);
});
