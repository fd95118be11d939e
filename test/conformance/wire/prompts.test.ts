// Prompts: admission, order, the cap, cancel and the queue (protocol 2.10, 2.11 and 2.16).
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { endFleets } from '../../support/fleet-process.ts';
import { type SseStream, streamFrom } from '../../support/sse-stream.ts';
import { TARGETS } from '../../support/targets.ts';
import { type Admission, call, clientHeader, newSession, sendPrompt } from '../../support/wire-client.ts';

afterAll(endFleets);

interface PromptData {
  readonly promptId?: string;
  readonly text?: string;
  readonly state?: string;
  readonly stopReason?: string;
}

/** `type:promptId-index` of every event that belongs to one of the prompts, agent frames folded into one word. */
function storyOf(stream: SseStream, prompts: readonly Admission[]): string[] {
  const nameOf = (id: string | undefined) => prompts.findIndex(({ promptId }) => promptId === id) + 1;
  const story = stream.envelopes
    .filter(({ id }) => id !== undefined)
    .map((envelope) => {
      const { update } = envelope.data as { update?: { sessionUpdate: string } };
      const word = update === undefined ? envelope.type : update.sessionUpdate;
      return `${word} ${nameOf(envelope.promptId)}`;
    });
  return story.filter((word, index) => word !== story[index - 1]);
}

describe.each(TARGETS)('%s', (_name, target) => {
  let base: string;
  const post = (id: string, action: string, json: unknown = {}, clientId?: string) =>
    call(base, 'POST', `/session/${id}/${action}`, { json, headers: clientHeader(clientId) });
  const pending = async (id: string) => {
    const { json } = await call(base, 'GET', `/session/${id}/pending-prompts`);
    return json.pendingPrompts as readonly PromptData[];
  };
  const remove = (id: string, promptId: string) =>
    call(base, 'DELETE', `/session/${id}/pending-prompts/${promptId}`);

  beforeAll(async () => {
    base = (await target.start()).baseUrl;
  });

  test('a prompt is 202 with its id, the head of the bus before it, and the epoch', async () => {
    const { sessionId } = await newSession(base);
    const first = await post(sessionId, 'prompt', { prompt: [{ type: 'text', text: 'one' }] });
    expect(first.status).toBe(202);
    expect(first.json).toEqual({
      promptId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      lastEventId: 0,
      eventEpoch: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    const stream = await streamFrom(base, sessionId, first.json as unknown as Admission);
    expect(stream.headers['x-qwen-event-epoch']).toBe(first.json.eventEpoch);
    await stream.settled(String(first.json.promptId));
    const head = Math.max(...stream.ids);
    const second = await sendPrompt(base, sessionId, 'two');
    expect(second.lastEventId).toBe(head);
    stream.close();
  });

  test.each([
    [{}],
    [{ prompt: 'text' }],
    [{ prompt: [] }],
    [{ prompt: ['text'] }],
    [{ prompt: [null] }],
    [{ prompt: [{ type: 'image' }] }],
  ])('a malformed prompt is 400 without a code: %j', async (body) => {
    const { sessionId } = await newSession(base);
    const { status, json } = await post(sessionId, 'prompt', body);
    expect([status, json.code]).toEqual([400, undefined]);
    expect(typeof json.error).toBe('string');
  });

  test.each([[0], [-1], [1.5], ['100'], [{}]])(
    'a malformed deadline is 400 invalid_deadline_ms: %j',
    async (deadlineMs) => {
      const { sessionId } = await newSession(base);
      const body = { prompt: [{ type: 'text', text: 'x' }], deadlineMs };
      const { status, json } = await post(sessionId, 'prompt', body);
      expect([status, json.code]).toEqual([400, 'invalid_deadline_ms']);
    },
  );

  test('the events of a lone prompt come in the protocol’s order', async () => {
    const { sessionId, clientId } = await newSession(base);
    const admission = await sendPrompt(base, sessionId, 'N:3:10', clientId);
    const stream = await streamFrom(base, sessionId, admission);
    const end = await stream.settled(admission.promptId);
    expect(storyOf(stream, [admission])).toEqual([
      'user_message_chunk 1',
      'agent_message_chunk 1',
      'turn_complete 1',
    ]);
    expect(end.data).toMatchObject({ sessionId, stopReason: 'end_turn', promptId: admission.promptId });
    const own = stream.envelopes.filter(({ id }) => id !== undefined);
    expect(own.map(({ originatorClientId }) => originatorClientId)).toEqual(own.map(() => clientId));
    stream.close();
  });

  test('every block of a prompt is echoed', async () => {
    const { sessionId } = await newSession(base);
    const blocks = ['one', 'two', 'three'].map((text) => ({ type: 'text', text }));
    const admission = (await post(sessionId, 'prompt', { prompt: blocks })).json as unknown as Admission;
    const stream = await streamFrom(base, sessionId, admission);
    await stream.settled(admission.promptId);
    const echoes = stream.ofType('session_update').map(({ data }) => (data as { update: object }).update);
    expect(echoes.slice(0, 3)).toEqual(
      blocks.map((content) => ({
        sessionUpdate: 'user_message_chunk',
        content,
        _meta: { source: 'bridge-echo' },
      })),
    );
    stream.close();
  });

  test('prompts run first in first out, one at a time, each framed by its queue events', async () => {
    const { sessionId } = await newSession(base);
    // The first one waits for a vote until the others are in the queue.
    const first = await sendPrompt(base, sessionId, 'permission');
    const stream = await streamFrom(base, sessionId, first);
    const { requestId } = (await stream.event('permission_request')).data as { requestId: string };
    const second = await sendPrompt(base, sessionId, 'two');
    const third = await sendPrompt(base, sessionId, 'three');
    const prompts = [first, second, third];
    await post(sessionId, `permission/${requestId}`, { outcome: { outcome: 'selected', optionId: 'allow' } });
    await stream.event('pending_prompt_completed', ({ promptId }) => promptId === third.promptId);
    expect(storyOf(stream, prompts)).toEqual([
      'user_message_chunk 1',
      'permission_request 1',
      'pending_prompt_added 2',
      'pending_prompt_added 3',
      'permission_resolved 1',
      'agent_message_chunk 1',
      'turn_complete 1',
      'pending_prompt_started 2',
      'user_message_chunk 2',
      'agent_message_chunk 2',
      'turn_complete 2',
      'pending_prompt_completed 2',
      'pending_prompt_started 3',
      'user_message_chunk 3',
      'agent_message_chunk 3',
      'turn_complete 3',
      'pending_prompt_completed 3',
    ]);
    expect((stream.ofType('pending_prompt_added')[0] as { data: PromptData }).data).toEqual({
      sessionId,
      promptId: second.promptId,
      text: 'two',
      queuedAt: expect.any(Number),
    });
    stream.close();
  });

  test('every accepted prompt has exactly one end', async () => {
    const { sessionId } = await newSession(base);
    const texts = ['hello', 'error:-32000:no', 'N:5:5', 'permission', 'last'];
    const prompts: Admission[] = [];
    for (const text of texts) prompts.push(await sendPrompt(base, sessionId, text));
    const stream = await streamFrom(base, sessionId, prompts[0] as Admission);
    await stream.event('permission_request');
    await post(sessionId, 'cancel');
    for (const { promptId } of prompts) await stream.settled(promptId);
    const ends = [...stream.ofType('turn_complete'), ...stream.ofType('turn_error')];
    expect(ends.map(({ data }) => (data as PromptData).promptId).sort()).toEqual(
      prompts.map(({ promptId }) => promptId).sort(),
    );
    stream.close();
  });

  test('a failed prompt is announced as cancelled, then as failed with the agent’s code as a string', async () => {
    const { sessionId } = await newSession(base);
    const admission = await sendPrompt(base, sessionId, 'error:-32001:broken');
    const stream = await streamFrom(base, sessionId, admission);
    expect((await stream.settled(admission.promptId)).data).toMatchObject({
      sessionId,
      message: 'broken',
      code: '-32001',
      errorKind: 'stub',
      promptId: admission.promptId,
    });
    expect(stream.ofType('prompt_cancelled').map(({ data }) => data)).toEqual([
      { sessionId, reason: 'forward_failed' },
    ]);
    stream.close();
  });

  test('the sixth pending prompt is 503 prompt_queue_full and leaves no trace', async () => {
    const { sessionId } = await newSession(base);
    for (let index = 0; index < 5; index += 1) await sendPrompt(base, sessionId, 'hang');
    const answer = await post(sessionId, 'prompt', { prompt: [{ type: 'text', text: 'too many' }] });
    expect(answer.status).toBe(503);
    expect(answer.json).toMatchObject({ code: 'prompt_queue_full', sessionId, limit: 5, pendingCount: 5 });
    expect(answer.headers['retry-after']).toBe('5');
    expect(await pending(sessionId)).toHaveLength(5);
  });

  test('a turn goes on when the connection that sent its prompt is gone', async () => {
    const { sessionId } = await newSession(base);
    const admission = await sendPrompt(base, sessionId, 'sleep:50 ; still here');
    const stream = await streamFrom(base, sessionId, admission);
    await stream.settled(admission.promptId);
    expect(stream.texts).toEqual(['echo: still here']);
    stream.close();
  });

  test('a cancel of an idle session is 204', async () => {
    const { sessionId } = await newSession(base);
    const answer = await post(sessionId, 'cancel');
    expect([answer.status, answer.text]).toEqual([204, '']);
  });

  test('a cancel ends the running prompt only: prompt_cancelled, then its end, then the next one runs', async () => {
    const { sessionId } = await newSession(base);
    const first = await sendPrompt(base, sessionId, 'hang');
    const second = await sendPrompt(base, sessionId, 'two');
    const stream = await streamFrom(base, sessionId, first);
    await stream.event('pending_prompt_added');
    expect((await post(sessionId, 'cancel')).status).toBe(204);
    expect((await stream.settled(first.promptId)).data).toMatchObject({
      stopReason: 'cancelled',
      promptCancelled: { cancelledAt: expect.any(Number), elapsedMs: expect.any(Number) },
    });
    expect((await stream.settled(second.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect(stream.ofType('prompt_cancelled').map(({ data }) => data)).toEqual([{ sessionId }]);
    const types = stream.types;
    expect(types.indexOf('prompt_cancelled')).toBeLessThan(types.indexOf('turn_complete'));
    stream.close();
  });

  test('repeated cancels announce it once', async () => {
    const { sessionId } = await newSession(base);
    const admission = await sendPrompt(base, sessionId, 'hang');
    const stream = await streamFrom(base, sessionId, admission);
    await Promise.all([1, 2, 3].map(() => post(sessionId, 'cancel')));
    await stream.settled(admission.promptId);
    expect(stream.ofType('prompt_cancelled')).toHaveLength(1);
    stream.close();
  });

  test('a cancel resolves the open questions as cancelled', async () => {
    const { sessionId } = await newSession(base);
    const admission = await sendPrompt(base, sessionId, 'permission');
    const stream = await streamFrom(base, sessionId, admission);
    await stream.event('permission_request');
    await post(sessionId, 'cancel');
    await stream.settled(admission.promptId);
    const [resolved] = stream.ofType('permission_resolved');
    expect(resolved?.data).toMatchObject({ outcome: { outcome: 'cancelled' } });
    expect(resolved?.data).not.toHaveProperty('voterClientId');
    stream.close();
  });

  test('pending prompts are listed with the running one first', async () => {
    const { sessionId, clientId } = await newSession(base);
    expect(await pending(sessionId)).toEqual([]);
    const running = await sendPrompt(base, sessionId, 'hang', clientId);
    const queued = await sendPrompt(base, sessionId, 'two');
    expect(await pending(sessionId)).toEqual([
      {
        promptId: running.promptId,
        text: 'hang',
        content: [{ type: 'text', text: 'hang' }],
        queuedAt: expect.any(Number),
        state: 'running',
        originatorClientId: clientId,
      },
      {
        promptId: queued.promptId,
        text: 'two',
        content: [{ type: 'text', text: 'two' }],
        queuedAt: expect.any(Number),
        state: 'queued',
      },
    ]);
  });

  test('a queued prompt can be removed: it ends as cancelled and never runs', async () => {
    const { sessionId } = await newSession(base);
    const running = await sendPrompt(base, sessionId, 'hang');
    const queued = await sendPrompt(base, sessionId, 'never');
    const stream = await streamFrom(base, sessionId, running);
    const answer = await remove(sessionId, queued.promptId);
    expect([answer.status, answer.json]).toEqual([200, { removed: true }]);
    expect((await stream.settled(queued.promptId)).data).toMatchObject({ stopReason: 'cancelled' });
    const completed = await stream.event('pending_prompt_completed');
    expect(completed.data).toEqual({ sessionId, promptId: queued.promptId, state: 'removed' });
    expect((await pending(sessionId)).map(({ promptId }) => promptId)).toEqual([running.promptId]);
    expect(stream.ofType('pending_prompt_started')).toEqual([]);
    stream.close();
  });

  test('removing the running prompt cancels it', async () => {
    const { sessionId } = await newSession(base);
    const running = await sendPrompt(base, sessionId, 'hang');
    const stream = await streamFrom(base, sessionId, running);
    expect((await remove(sessionId, running.promptId)).json).toEqual({ removed: true });
    expect(await pending(sessionId)).toEqual([]);
    expect((await stream.settled(running.promptId)).data).toMatchObject({ stopReason: 'cancelled' });
    expect(storyOf(stream, [running])).toEqual([
      'user_message_chunk 1',
      'prompt_cancelled 1',
      'pending_prompt_completed 1',
      'turn_complete 1',
    ]);
    expect(stream.ofType('pending_prompt_completed')[0]?.data).toMatchObject({ state: 'removed' });
    stream.close();
  });

  test('removing a running prompt waits for no agent, and a second time there is nothing to remove', async () => {
    const { sessionId } = await newSession(base);
    const { promptId } = await sendPrompt(base, sessionId, 'ignore-cancel');
    const queued = await sendPrompt(base, sessionId, 'two');
    expect((await remove(sessionId, promptId)).json).toEqual({ removed: true });
    expect((await remove(sessionId, promptId)).json).toEqual({ removed: false });
    expect(await pending(sessionId)).toMatchObject([{ promptId: queued.promptId, state: 'queued' }]);
  });

  test('removing what is not there says so', async () => {
    const { sessionId } = await newSession(base);
    expect((await remove(sessionId, 'no-such-prompt')).json).toEqual({ removed: false });
  });
});

describe.each(TARGETS)('%s with a prompt deadline', (_name, target) => {
  test('a turn that passes it fails with prompt_deadline_exceeded, and a request can only shorten it', async () => {
    const { baseUrl } = await target.start({ flags: ['--prompt-deadline-ms', '5000'] });
    const { sessionId } = await newSession(baseUrl);
    const body = { prompt: [{ type: 'text', text: 'hang' }], deadlineMs: 100 };
    const { json } = await call(baseUrl, 'POST', `/session/${sessionId}/prompt`, { json: body });
    const admission = json as unknown as Admission;
    const stream = await streamFrom(baseUrl, sessionId, admission);
    const end = await stream.settled(admission.promptId);
    expect(end.type).toBe('turn_error');
    expect(end.data).toMatchObject({
      code: 'prompt_deadline_exceeded',
      errorKind: 'prompt_deadline_exceeded',
    });
    const next = await sendPrompt(baseUrl, sessionId, 'after it');
    expect((await stream.settled(next.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    stream.close();
  });
});
