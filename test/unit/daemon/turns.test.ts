// The turns of a session over a fake agent: every way in which a prompt ends, and the order of what clients hear.
import { describe, expect, test } from '@jest/globals';
import { AgentCallError } from '../../../daemon/agent/agent.ts';
import { CRASH } from '../../support/fake-channel.ts';
import { settled } from '../../support/manual-clock.ts';
import { SessionParts } from '../../support/session-parts.ts';

const ECHO = 'user_message_chunk';
const END_TURN = { stopReason: 'end_turn' };

function sendError(parts: SessionParts, error: Error): Promise<void> {
  parts.channel.next('session/prompt').fail(error);
  return settled();
}

async function end(parts: SessionParts, answer: unknown = END_TURN): Promise<void> {
  parts.channel.next('session/prompt').answer(answer);
  await settled();
}

/** Texts of the prompts that reached the agent, in order. */
function ranOn(parts: SessionParts): unknown[] {
  return parts.channel.calls
    .filter(({ method }) => method === 'session/prompt')
    .map(({ params }) => (params.prompt as { text: string }[])[0]?.text);
}

describe('a prompt', () => {
  test('that the agent ends is echoed, then complete, and nothing is said of a queue', async () => {
    const parts = new SessionParts();
    const promptId = parts.prompt('hello', 'c-1');
    await end(parts);
    expect(parts.story).toEqual([ECHO, 'turn_complete end_turn']);
    expect(parts.events).toMatchObject([
      {
        id: 1,
        promptId,
        originatorClientId: 'c-1',
        data: { sessionId: 's-1', update: { content: { type: 'text', text: 'hello' } } },
      },
      { id: 2, promptId, originatorClientId: 'c-1', data: { sessionId: 's-1', promptId } },
    ]);
    expect(parts.session.turns.lastError).toBeUndefined();
  });

  test('is accepted with the head of the bus before its first frame', async () => {
    const parts = new SessionParts();
    parts.prompt();
    await end(parts);
    const { bus, turns } = parts.session;
    const before = bus.ring.head;
    const admission = turns.submit({ prompt: [{ type: 'text', text: 'next' }] }, undefined);
    expect(admission).toMatchObject({ lastEventId: before, eventEpoch: bus.epoch });
    expect(bus.ring.head).toBeGreaterThan(before);
  });

  test('goes to the agent with its blocks and extra fields, and without a deadline of the call', () => {
    const parts = new SessionParts();
    parts.prompt('hello', undefined, { temperature: 1, _meta: { a: 1, 'qwen.daemon.x': 2 } });
    expect(parts.channel.next('session/prompt')).toMatchObject({
      params: {
        sessionId: 's-1',
        prompt: [{ type: 'text', text: 'hello' }],
        temperature: 1,
        _meta: { a: 1 },
      },
      timeoutMs: undefined,
    });
  });

  test.each([[null], ['text'], [{}], [{ stopReason: 7 }], [{ stopReason: '' }], [[]]])(
    'that is answered without a stop reason ended its turn: %j',
    async (answer) => {
      const parts = new SessionParts();
      parts.prompt();
      await end(parts, answer);
      expect(parts.story.at(-1)).toBe('turn_complete end_turn');
    },
  );

  test('tells of the branch point that the agent gives with its end', async () => {
    const parts = new SessionParts();
    parts.prompt();
    const branchPoint = { assistantRecordUuid: 'a', checkpointUuid: 'b' };
    await end(parts, { stopReason: 'end_turn', _meta: { 'qwen.branchPoint': branchPoint } });
    expect(parts.events.at(-1)).toMatchObject({ data: { branchPoint } });
  });

  test('that the agent refuses is cancelled as forward_failed, then an error with the number as a string', async () => {
    const parts = new SessionParts();
    const promptId = parts.prompt();
    const data = { details: 'no such model', errorKind: 'model_stream_interrupted' };
    await sendError(parts, new AgentCallError(-32603, 'Internal error', data));
    expect(parts.story).toEqual([ECHO, 'prompt_cancelled forward_failed', 'turn_error -32603']);
    const error = {
      message: 'Internal error: no such model',
      code: '-32603',
      errorKind: 'model_stream_interrupted',
    };
    expect(parts.events.at(-1)?.data).toEqual({ sessionId: 's-1', promptId, ...error });
    expect(parts.session.turns.lastError).toEqual(error);
  });

  test.each([
    ['Internal error', { details: 'no such model' }, 'Internal error: no such model'],
    ['Internal error', { message: 'no such model' }, 'Internal error: no such model'],
    ['Internal error', { details: ' ', message: 'no such model' }, 'Internal error: no such model'],
    ['Internal error', 'no such model', 'Internal error: no such model'],
    ['there is no such model', { details: 'no such model' }, 'there is no such model'],
    ['', { details: 'no such model' }, 'no such model'],
    ['', undefined, 'The agent gave no reason'],
    [' ', { details: '' }, 'The agent gave no reason'],
  ])('that fails says why: message "%s" with data %j', async (message, data, expected) => {
    const parts = new SessionParts();
    parts.prompt();
    await sendError(parts, new AgentCallError(-32603, message, data));
    expect(parts.events.at(-1)?.data).toMatchObject({ message: expected });
  });

  test.each([[undefined], [null], [{ errorKind: 7, details: {} }], [7], [['text']]])(
    'an error whose data is of no use has its message only: %j',
    async (data) => {
      const parts = new SessionParts();
      const promptId = parts.prompt();
      await sendError(parts, new AgentCallError(1, 'bad', data));
      expect(parts.events.at(-1)?.data).toEqual({ sessionId: 's-1', promptId, message: 'bad', code: '1' });
    },
  );

  test('that succeeds forgets the error of the one before', async () => {
    const parts = new SessionParts();
    parts.prompt();
    await sendError(parts, new AgentCallError(1, 'bad'));
    parts.prompt();
    await end(parts);
    expect(parts.session.turns.lastError).toBeUndefined();
  });
});

describe('prompts behind one another', () => {
  test('run one at a time, each framed by its queue events, in the protocol’s order', async () => {
    const parts = new SessionParts();
    parts.prompt('one');
    parts.prompt('two');
    expect(ranOn(parts)).toEqual(['one']);
    await end(parts);
    await end(parts);
    expect(ranOn(parts)).toEqual(['one', 'two']);
    expect(parts.story).toEqual([
      ECHO,
      'pending_prompt_added',
      'turn_complete end_turn',
      'pending_prompt_started',
      ECHO,
      'turn_complete end_turn',
      'pending_prompt_completed completed',
    ]);
  });

  test('tell the coordinator each step once', async () => {
    const parts = new SessionParts();
    parts.prompt('one');
    parts.prompt('two');
    await end(parts);
    await sendError(parts, new AgentCallError(-1, 'bad'));
    expect(parts.steps.map(({ state, outcome }) => `${state} ${outcome ?? ''}`.trim())).toEqual([
      'queued',
      'running',
      'queued',
      'completed end_turn',
      'running',
      'failed -1',
    ]);
  });

  test('leave the session idle only when the last one has settled', async () => {
    const parts = new SessionParts();
    parts.prompt();
    parts.prompt();
    await end(parts);
    expect([parts.idleCount, parts.session.turns.isIdle]).toEqual([0, false]);
    await end(parts);
    expect([parts.idleCount, parts.session.turns.isIdle]).toEqual([1, true]);
  });
});

describe('a cancel', () => {
  test('is told at once, resolves the questions, and the agent’s end ends the turn', async () => {
    const parts = new SessionParts();
    parts.prompt();
    const question = parts.ask();
    const cancel = parts.session.turns.cancel(undefined);
    expect(parts.story.slice(-2)).toEqual(['prompt_cancelled', 'permission_resolved cancelled']);
    parts.clock.advance(250);
    await cancel;
    expect(parts.channel.notifications).toEqual([{ method: 'session/cancel', params: { sessionId: 's-1' } }]);
    await end(parts, { stopReason: 'cancelled' });
    expect(parts.events.at(-1)?.data).toMatchObject({
      stopReason: 'cancelled',
      promptCancelled: { cancelledAt: parts.clock.nowMs() - 250, elapsedMs: 250 },
    });
    expect(question.answers).toHaveLength(1);
  });

  test('prefers the agent’s own call and waits for its answer', async () => {
    const parts = new SessionParts();
    parts.channel.answers.delete('craft/cancelPendingPrompt');
    parts.prompt();
    let isAcknowledged = false;
    const cancel = parts.session.turns.cancel(undefined).then(() => {
      isAcknowledged = true;
    });
    await settled();
    expect(isAcknowledged).toBe(false);
    parts.channel.next('craft/cancelPendingPrompt').answer({ cancelled: true });
    await cancel;
    expect(parts.channel.notifications).toEqual([]);
  });

  test('ends where the agent never acknowledges it', async () => {
    const parts = new SessionParts({ limits: { initializeTimeoutMs: 100 } });
    parts.channel.answers.delete('craft/cancelPendingPrompt');
    parts.prompt();
    const cancel = parts.session.turns.cancel(undefined);
    parts.clock.advance(100);
    await cancel;
    expect(parts.session.turns.running).toBeDefined();
  });

  test.each<[string, string | undefined, (parts: SessionParts, promptId: string) => unknown]>([
    ['of a client is its', 'c-2', ({ session }) => session.turns.cancel('c-2')],
    ['of somebody is nobody’s', undefined, ({ session }) => session.turns.cancel(undefined)],
    ['by a removal is the remover’s', 'c-2', ({ session }, id) => session.turns.remove(id, 'c-2')],
    ['by the agent is the prompt’s', 'c-1', (parts) => sendError(parts, new AgentCallError(-1, 'bad'))],
  ])('%s doing', async (_how, expected, cancel) => {
    const parts = new SessionParts();
    await cancel(parts, parts.prompt('one', 'c-1'));
    const told = parts.events.find(({ type }) => type === 'prompt_cancelled');
    expect(told?.originatorClientId).toBe(expected);
  });

  test('of an idle session says nothing', async () => {
    const parts = new SessionParts();
    await parts.session.turns.cancel(undefined);
    expect([parts.story, parts.channel.calls]).toEqual([[], []]);
  });

  test('leaves the prompts behind it in the queue, and the next one runs', async () => {
    const parts = new SessionParts();
    parts.prompt('one');
    parts.prompt('two');
    await parts.session.turns.cancel(undefined);
    expect(ranOn(parts)).toEqual(['one']);
    await end(parts, { stopReason: 'cancelled' });
    expect(ranOn(parts)).toEqual(['one', 'two']);
  });

  test('is told once, however often it is asked for and however the agent ends', async () => {
    const parts = new SessionParts();
    parts.prompt();
    await parts.session.turns.cancel(undefined);
    await parts.session.turns.cancel(undefined);
    await sendError(parts, new AgentCallError(-32800, 'cancelled'));
    expect(parts.story).toEqual([ECHO, 'prompt_cancelled', 'turn_error -32800']);
  });

  test('that is repeated resolves the questions that were asked since', async () => {
    const parts = new SessionParts();
    parts.prompt();
    await parts.session.turns.cancel(undefined);
    const late = parts.ask();
    await parts.session.turns.cancel(undefined);
    expect(late.answers).toHaveLength(1);
  });

  test('may lose against the agent’s own end', async () => {
    const parts = new SessionParts();
    parts.prompt();
    void parts.session.turns.cancel(undefined);
    await end(parts);
    expect(parts.story).toEqual([ECHO, 'prompt_cancelled', 'turn_complete end_turn']);
  });
});

describe('a removal', () => {
  test('of a waiting prompt ends it as cancelled; the agent never hears of it', async () => {
    const parts = new SessionParts();
    parts.prompt('one');
    const second = parts.prompt('two');
    expect(parts.session.turns.remove(second, undefined)).toBe(true);
    expect(parts.story.slice(2)).toEqual(['pending_prompt_completed removed', 'turn_complete cancelled']);
    await end(parts);
    expect(ranOn(parts)).toEqual(['one']);
    expect(parts.session.turns.remove(second, undefined)).toBe(false);
  });

  test('of the running prompt cancels it and ends as cancelled, whatever the agent says', async () => {
    const parts = new SessionParts();
    const promptId = parts.prompt();
    expect(parts.session.turns.remove(promptId, undefined)).toBe(true);
    await end(parts);
    expect(parts.story).toEqual([
      ECHO,
      'prompt_cancelled',
      'pending_prompt_completed removed',
      'turn_complete cancelled',
    ]);
  });

  test('of the running prompt takes effect at once and once, though the agent says nothing', () => {
    const parts = new SessionParts();
    parts.channel.answers.delete('craft/cancelPendingPrompt');
    const promptId = parts.prompt('one');
    const second = parts.prompt('two');
    const question = parts.ask();
    const { turns } = parts.session;
    const listed = () => turns.pending.map(({ entry, state }) => [entry.promptId, state]);
    expect(listed()).toEqual([
      [promptId, 'running'],
      [second, 'queued'],
    ]);
    expect([turns.remove(promptId, undefined), turns.remove(promptId, undefined)]).toEqual([true, false]);
    expect(listed()).toEqual([[second, 'queued']]);
    expect(parts.story.slice(-3)).toEqual([
      'prompt_cancelled',
      'permission_resolved cancelled',
      'pending_prompt_completed removed',
    ]);
    expect([question.requestId === '', parts.session.permissions.openCount]).toEqual([false, 0]);
    // The agent is still at it: nothing else runs yet, and the place in the queue is taken.
    expect([turns.running?.promptId, ranOn(parts)]).toEqual([promptId, ['one']]);
  });

  test('of a prompt that queued before it ran closes its frame once', async () => {
    const parts = new SessionParts();
    parts.prompt('one');
    const second = parts.prompt('two');
    await end(parts);
    parts.session.turns.remove(second, undefined);
    await end(parts);
    expect(parts.types.filter((type) => type === 'pending_prompt_completed')).toHaveLength(1);
  });

  test('of a prompt that settled, or never was, says so', async () => {
    const parts = new SessionParts();
    const promptId = parts.prompt();
    await end(parts);
    expect(parts.session.turns.remove(promptId, undefined)).toBe(false);
    expect(parts.session.turns.remove('nobody', undefined)).toBe(false);
  });
});

describe('a deadline', () => {
  const limits = { promptDeadlineMs: 1000, agentKillGraceMs: 200 };
  const overdue = ['prompt_cancelled forward_failed', 'turn_error prompt_deadline_exceeded'];

  test('fails the prompt by name, cancels it on the agent, and the late answer says nothing', async () => {
    const parts = new SessionParts({ limits });
    const promptId = parts.prompt();
    const question = parts.ask();
    parts.clock.advance(1000);
    expect(parts.story.slice(-3)).toEqual(['permission_resolved cancelled', ...overdue]);
    expect(parts.events.at(-1)?.data).toEqual({
      sessionId: 's-1',
      promptId,
      message: 'The prompt passed its deadline of 1000 ms',
      code: 'prompt_deadline_exceeded',
      errorKind: 'prompt_deadline_exceeded',
    });
    await settled();
    expect(question.answers).toHaveLength(1);
    expect(parts.channel.notifications).toHaveLength(1);
    const said = parts.events.length;
    await end(parts, { stopReason: 'cancelled' });
    expect(parts.events).toHaveLength(said);
  });

  test('is the shorter one of the daemon’s and the request’s', () => {
    const parts = new SessionParts({ limits });
    parts.prompt('hello', undefined, { deadlineMs: 300 });
    parts.clock.advance(299);
    expect(parts.session.turns.running).toBeDefined();
    parts.clock.advance(1);
    expect(parts.session.turns.running).toBeUndefined();
  });

  test('keeps the next prompt waiting until the agent lets go', async () => {
    const parts = new SessionParts({ limits });
    parts.prompt('one');
    parts.prompt('two');
    parts.clock.advance(1000);
    await settled();
    expect([ranOn(parts), parts.session.turns.isIdle]).toEqual([['one'], false]);
    await end(parts, { stopReason: 'cancelled' });
    expect(ranOn(parts)).toEqual(['one', 'two']);
  });

  test('is followed by a prompt that is announced as waiting', async () => {
    const parts = new SessionParts({ limits });
    parts.prompt('one');
    parts.clock.advance(1000);
    const said = parts.story.length;
    parts.prompt('two');
    expect(parts.story.slice(said)).toEqual(['pending_prompt_added']);
    await end(parts, { stopReason: 'cancelled' });
    await end(parts);
    expect(parts.story.slice(said)).toEqual([
      'pending_prompt_added',
      'pending_prompt_started',
      ECHO,
      'turn_complete end_turn',
      'pending_prompt_completed completed',
    ]);
  });

  test('leaves a cancel to the prompt behind it, which ends and never runs', async () => {
    const parts = new SessionParts({ limits });
    parts.prompt('one');
    parts.clock.advance(1000);
    const promptId = parts.prompt('two');
    parts.prompt('three');
    const said = parts.events.length;
    await parts.session.turns.cancel('c-2');
    expect(parts.story.slice(said)).toEqual([
      'prompt_cancelled',
      'turn_complete cancelled',
      'pending_prompt_completed completed',
    ]);
    expect(parts.events[said]).toMatchObject({ promptId, originatorClientId: 'c-2' });
    await end(parts, { stopReason: 'cancelled' });
    expect(ranOn(parts)).toEqual(['one', 'three']);
  });

  test.each<[string, (parts: SessionParts, promptId: string) => unknown]>([
    ['is cancelled', ({ session }) => session.turns.cancel(undefined)],
    ['is removed', ({ session }, promptId) => session.turns.remove(promptId, undefined)],
  ])('leaves the session idle when the last prompt behind it %s', async (_how, act) => {
    const parts = new SessionParts({ limits });
    parts.prompt('one');
    const promptId = parts.prompt('two');
    parts.clock.advance(1000);
    expect(parts.idleCount).toBe(0);
    await act(parts, promptId);
    expect([parts.idleCount, parts.session.turns.isIdle]).toEqual([1, true]);
    await parts.session.turns.cancel(undefined);
    parts.clock.advance(200);
    expect([parts.idleCount, ranOn(parts)]).toEqual([1, ['one']]);
  });

  test('keeps it waiting no longer than the grace of a kill', async () => {
    const parts = new SessionParts({ limits });
    parts.prompt('one');
    parts.prompt('two');
    parts.clock.advance(1199);
    expect(ranOn(parts)).toEqual(['one']);
    parts.clock.advance(1);
    expect(ranOn(parts)).toEqual(['one', 'two']);
    await end(parts);
    // That was the answer to the first prompt; it ends the first only.
    expect(parts.session.turns.running).toBeDefined();
    await end(parts);
    expect(parts.story.at(-2)).toBe('turn_complete end_turn');
  });

  test('keeps the third one waiting for the second, though the first lets go meanwhile', async () => {
    const parts = new SessionParts({ limits: { ...limits, agentKillGraceMs: 1500 } });
    for (const text of ['one', 'two', 'three']) parts.prompt(text);
    parts.clock.advance(1000 + 1500);
    expect(ranOn(parts)).toEqual(['one', 'two']);
    parts.clock.advance(1000);
    await end(parts);
    expect(ranOn(parts)).toEqual(['one', 'two']);
    await end(parts);
    expect(ranOn(parts)).toEqual(['one', 'two', 'three']);
  });

  test('does not touch a prompt that settled before it', async () => {
    const parts = new SessionParts({ limits });
    parts.prompt();
    await end(parts);
    const said = parts.events.length;
    parts.clock.advance(5000);
    expect(parts.events).toHaveLength(said);
    expect(parts.clock.pending).toBe(0);
  });
});

describe('the end of the session', () => {
  test('by a close fails the running and the waiting prompts, then is told, and nothing follows', async () => {
    const parts = new SessionParts();
    parts.prompt('one');
    parts.prompt('two');
    parts.session.close('client_close', { closedBy: 'c-1' });
    expect(parts.story.slice(2)).toEqual([
      'turn_error session_closed',
      'turn_error session_closed',
      'pending_prompt_completed removed',
      'session_closed client_close',
    ]);
    expect(parts.events.at(-1)?.data).toMatchObject({ closedBy: 'c-1' });
    const said = parts.events.length;
    await end(parts);
    expect(parts.events).toHaveLength(said);
    expect(ranOn(parts)).toEqual(['one']);
  });

  test('by a crash follows the protocol’s sequence to the letter', async () => {
    const parts = new SessionParts();
    parts.prompt('one');
    const second = parts.prompt('two');
    // As the link does it: the calls in flight fail first, then the exit is told.
    parts.channel.die();
    await settled();
    parts.session.agentDied(CRASH);
    expect(parts.story.slice(2)).toEqual([
      'prompt_cancelled forward_failed',
      'turn_error',
      'turn_error channel_closed',
      'pending_prompt_completed removed',
      'session_died channel_closed',
    ]);
    const [running, waiting] = parts.events.filter(({ type }) => type === 'turn_error');
    expect(running?.data).toMatchObject({
      message: expect.stringContaining('agent channel closed mid-request'),
    });
    expect(waiting).toMatchObject({ promptId: second, data: { promptId: second } });
    expect(parts.events.at(-1)?.data).toEqual({ sessionId: 's-1', reason: 'channel_closed', exitCode: 7 });
    expect(ranOn(parts)).toEqual(['one']);
  });

  test('by a signal names the signal', () => {
    const parts = new SessionParts();
    parts.session.agentDied({ ...CRASH, code: null, signal: 'SIGKILL' });
    expect(parts.events.at(-1)?.data).toEqual({
      sessionId: 's-1',
      reason: 'channel_closed',
      signalCode: 'SIGKILL',
    });
  });

  test('a prompt that comes while the agent dies ends with the session, and never ran', async () => {
    const parts = new SessionParts();
    parts.channel.die();
    parts.prompt('late');
    await settled();
    parts.session.agentDied(CRASH);
    expect(parts.story).toEqual(['turn_error channel_closed', 'session_died channel_closed']);
  });

  test('by the daemon’s end fails every prompt as daemon_shutdown', () => {
    const parts = new SessionParts();
    parts.prompt('one');
    parts.prompt('two');
    parts.session.daemonStops();
    expect(parts.story.slice(2)).toEqual([
      'turn_error daemon_shutdown',
      'turn_error daemon_shutdown',
      'pending_prompt_completed removed',
      'session_died daemon_shutdown',
    ]);
  });

  test('counts once: what ends it first is what clients hear', () => {
    const parts = new SessionParts();
    expect(parts.session.close('client_close')).toBe(true);
    expect(parts.session.agentDied(CRASH)).toBe(false);
    expect(parts.session.daemonStops()).toBe(false);
    expect(parts.story).toEqual(['session_closed client_close']);
  });

  test('closes the frame of a prompt that was removed while it ran', async () => {
    const parts = new SessionParts();
    const promptId = parts.prompt();
    parts.session.turns.remove(promptId, undefined);
    parts.session.close('client_close');
    expect(parts.story.slice(1)).toEqual([
      'prompt_cancelled',
      'pending_prompt_completed removed',
      'turn_error session_closed',
      'session_closed client_close',
    ]);
  });
});

describe('a message for the running turn', () => {
  test('is refused while nothing runs', () => {
    const parts = new SessionParts();
    expect(parts.session.turns.addMidTurn('hi', undefined)).toEqual({
      accepted: false,
      reason: 'session_idle',
    });
  });

  test.each([[''], ['  '], [7], [null], [undefined], [['hi']]])('must be a text: %j', (message) => {
    const parts = new SessionParts();
    parts.prompt();
    expect(() => parts.session.turns.addMidTurn(message, undefined)).toThrow('message');
  });

  test('is pending until the agent drains it, in order and once', () => {
    const parts = new SessionParts();
    parts.prompt('one');
    const ids = ['a', 'b'].map((text) => {
      const answer = parts.session.turns.addMidTurn(text, 'c-1');
      return answer.accepted ? answer.messageId : undefined;
    });
    expect(parts.session.turns.drainMidTurn()).toEqual({
      messages: ['a', 'b'],
      items: [
        { id: ids[0], text: 'a' },
        { id: ids[1], text: 'b' },
      ],
      hasQueuedPrompt: false,
    });
    expect(parts.story.slice(1)).toEqual([
      'pending_prompt_added',
      'pending_prompt_added',
      'mid_turn_message_injected',
      'pending_prompt_completed completed',
      'pending_prompt_completed completed',
    ]);
    expect(parts.session.turns.drainMidTurn()).toMatchObject({ messages: [] });
    expect(parts.types.filter((type) => type === 'mid_turn_message_injected')).toHaveLength(1);
  });

  test('that the turn never took runs as a prompt of its own, behind those that wait, under its own id', async () => {
    const parts = new SessionParts();
    parts.prompt('one');
    const answer = parts.session.turns.addMidTurn('message', 'c-1');
    parts.prompt('two');
    for (let turn = 0; turn < 3; turn += 1) await end(parts);
    expect(ranOn(parts)).toEqual(['one', 'two', 'message']);
    const own = parts.events.filter(({ promptId }) => answer.accepted && promptId === answer.messageId);
    expect(own.map(({ type }) => type)).toEqual([
      'pending_prompt_added',
      'pending_prompt_started',
      'session_update',
      'turn_complete',
      'pending_prompt_completed',
    ]);
  });

  test('runs after a failed turn too', async () => {
    const parts = new SessionParts();
    parts.prompt('one');
    parts.session.turns.addMidTurn('message', undefined);
    await sendError(parts, new AgentCallError(1, 'bad'));
    expect(ranOn(parts)).toEqual(['one', 'message']);
  });

  test('that is taken out is neither drained nor run', async () => {
    const parts = new SessionParts();
    parts.prompt('one');
    const answer = parts.session.turns.addMidTurn('message', undefined);
    expect(parts.session.turns.remove(answer.accepted ? answer.messageId : '', undefined)).toBe(true);
    expect(parts.story.at(-1)).toBe('pending_prompt_completed removed');
    expect(parts.session.turns.drainMidTurn()).toMatchObject({ messages: [] });
    await end(parts);
    expect(ranOn(parts)).toEqual(['one']);
  });

  test('is taken out when the session ends', () => {
    const parts = new SessionParts();
    parts.prompt('one');
    parts.session.turns.addMidTurn('message', undefined);
    parts.session.close('client_close');
    expect(parts.story.slice(2)).toEqual([
      'turn_error session_closed',
      'pending_prompt_completed removed',
      'session_closed client_close',
    ]);
  });
});
