// Permission votes (protocol 2.17 and 6).
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { workspaceIdOf } from '../../../daemon/contract/canonical-path.ts';
import { endFleets, type Server } from '../../support/fleet-process.ts';
import { type SseStream, streamFrom } from '../../support/sse-stream.ts';
import { BARE_DAEMON, TARGETS } from '../../support/targets.ts';
import {
  type Answer,
  call,
  clientHeader,
  createSession,
  newSession,
  sendPrompt,
} from '../../support/wire-client.ts';

afterAll(endFleets);

const select = (optionId: string) => ({ outcome: { outcome: 'selected', optionId } });
const CANCEL = { outcome: { outcome: 'cancelled' } };

/** A session in which the agent waits for the answer to one question. */
interface Asked {
  readonly sessionId: string;
  readonly clientId: string;
  readonly promptId: string;
  readonly requestId: string;
  readonly stream: SseStream;
}

async function ask(
  base: string,
  cwd?: string,
  originator: 'client' | 'anonymous' = 'client',
): Promise<Asked> {
  const { sessionId, clientId } = await newSession(base, cwd);
  const prompter = originator === 'client' ? clientId : undefined;
  const admission = await sendPrompt(base, sessionId, 'permission', prompter);
  const stream = await streamFrom(base, sessionId, admission);
  const { requestId } = (await stream.event('permission_request')).data as { requestId: string };
  return { sessionId, clientId, promptId: admission.promptId, requestId, stream };
}

function vote(base: string, asked: Asked, json: unknown, clientId?: string): Promise<Answer> {
  const path = `/session/${asked.sessionId}/permission/${asked.requestId}`;
  return call(base, 'POST', path, { json, headers: clientHeader(clientId) });
}

/** What the agent got as its answer. */
async function agentsAnswer({ stream, promptId }: Asked): Promise<unknown> {
  await stream.settled(promptId);
  return (JSON.parse(stream.texts[0] ?? '{}') as { result?: unknown }).result;
}

describe.each(TARGETS)('%s', (_name, target) => {
  let server: Server;
  let base: string;

  beforeAll(async () => {
    server = await target.start({ flags: ['--max-sessions', '0'] });
    base = server.baseUrl;
  });

  const routes = (asked: Asked) => [
    `/session/${asked.sessionId}/permission/${asked.requestId}`,
    `/permission/${asked.requestId}`,
  ];

  test('the question has the tool call, the options, the prompt and its client', async () => {
    const asked = await ask(base);
    const [question] = asked.stream.ofType('permission_request');
    expect(question).toMatchObject({
      id: expect.any(Number),
      promptId: asked.promptId,
      originatorClientId: asked.clientId,
      data: {
        requestId: asked.requestId,
        sessionId: asked.sessionId,
        toolCall: { toolCallId: 'call-1', title: 'edit 1', kind: 'edit' },
        options: [
          { optionId: 'allow', name: 'Allow', kind: 'allow_once' },
          { optionId: 'always', name: 'Always', kind: 'allow_always' },
          { optionId: 'reject', name: 'Reject', kind: 'reject_once' },
        ],
      },
    });
  });

  test.each([[0], [1]])('a vote that decides is 200 {} and reaches the agent (route %i)', async (index) => {
    for (const workspace of server.workspaces) {
      const asked = await ask(base, workspace);
      const answer = await call(base, 'POST', routes(asked)[index] as string, { json: select('reject') });
      expect([answer.status, answer.text]).toEqual([200, '{}']);
      expect(await agentsAnswer(asked)).toEqual({ outcome: { outcome: 'selected', optionId: 'reject' } });
    }
  });

  test('the decision is announced once, before the agent hears, with the voter', async () => {
    const asked = await ask(base);
    await vote(base, asked, select('allow'), asked.clientId);
    await asked.stream.settled(asked.promptId);
    const { types } = asked.stream;
    const resolved = asked.stream.ofType('permission_resolved');
    expect(resolved).toHaveLength(1);
    expect(resolved[0]).toMatchObject({ originatorClientId: asked.clientId, promptId: asked.promptId });
    expect(resolved[0]?.data).toEqual({
      requestId: asked.requestId,
      outcome: { outcome: 'selected', optionId: 'allow' },
      voterClientId: asked.clientId,
    });
    expect(types.indexOf('permission_resolved')).toBeLessThan(types.lastIndexOf('session_update'));
  });

  test('an anonymous vote names no voter', async () => {
    const asked = await ask(base);
    await vote(base, asked, select('allow'));
    const { data, originatorClientId } = await asked.stream.event('permission_resolved');
    expect(data).not.toHaveProperty('voterClientId');
    expect(originatorClientId).toBeUndefined();
  });

  test('a vote to cancel reaches the agent as cancelled', async () => {
    const asked = await ask(base);
    expect((await vote(base, asked, CANCEL)).status).toBe(200);
    expect(await agentsAnswer(asked)).toEqual({
      outcome: { outcome: 'cancelled' },
      _meta: { 'qwen.daemon.permissionCancelReason': 'agent_cancelled' },
    });
  });

  test('answers and the expected mode are merged next to the outcome', async () => {
    const asked = await ask(base);
    const extras = { answers: { 0: 'yes', why: 'because' }, expectedPlanExecutionMode: 'default' };
    await vote(base, asked, { ...select('allow'), ...extras });
    expect(await agentsAnswer(asked)).toEqual({ outcome: select('allow').outcome, ...extras });
  });

  test('an unknown request is 404 without a code', async () => {
    const { sessionId } = await newSession(base);
    for (const path of [`/session/${sessionId}/permission/nothing`, '/permission/nothing']) {
      const { status, json } = await call(base, 'POST', path, { json: select('allow') });
      expect([status, json.code, json.requestId]).toEqual([404, undefined, 'nothing']);
      expect(typeof json.error).toBe('string');
    }
  });

  test('a request of another session is 404 without a code', async () => {
    const asked = await ask(base);
    const { sessionId } = await newSession(base);
    const path = `/session/${sessionId}/permission/${asked.requestId}`;
    const { status, json } = await call(base, 'POST', path, { json: select('allow') });
    expect([status, json.code]).toEqual([404, undefined]);
    expect(json).toMatchObject({ requestId: asked.requestId, sessionId });
  });

  test('a late vote is 404 without a code and is told to everybody with the outcome', async () => {
    const asked = await ask(base);
    await vote(base, asked, select('allow'));
    for (const path of routes(asked)) {
      const { status, json } = await call(base, 'POST', path, { json: select('reject') });
      expect([status, json.code]).toEqual([404, undefined]);
    }
    const late = await asked.stream.event('permission_already_resolved');
    expect(late.data).toEqual({
      requestId: asked.requestId,
      sessionId: asked.sessionId,
      outcome: { outcome: 'selected', optionId: 'allow' },
    });
    expect(late.originatorClientId).toBeUndefined();
  });

  test('of two concurrent votes exactly one decides', async () => {
    const asked = await ask(base);
    const answers = await Promise.all(['allow', 'reject'].map((option) => vote(base, asked, select(option))));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 404]);
    await asked.stream.settled(asked.promptId);
    expect(asked.stream.ofType('permission_resolved')).toHaveLength(1);
  });

  test.each([['perhaps'], ['__cancelled__']])(
    'an option that was not offered is 400: %s',
    async (optionId) => {
      const asked = await ask(base);
      const { status, json } = await vote(base, asked, select(optionId));
      expect(status).toBe(400);
      expect(json).toMatchObject({ code: 'invalid_option_id', requestId: asked.requestId, optionId });
      expect((await vote(base, asked, select('allow'))).status).toBe(200);
    },
  );

  test.each([
    [{}],
    [{ outcome: 'allow' }],
    [{ outcome: { outcome: 'maybe' } }],
    [{ outcome: { outcome: 'selected' } }],
    [{ outcome: { outcome: 'selected', optionId: 1 } }],
  ])('a malformed outcome is 400 without a code: %j', async (body) => {
    const asked = await ask(base);
    const { status, json } = await vote(base, asked, body);
    expect([status, json.code]).toEqual([400, undefined]);
  });

  test('a vote of an unknown client is 400 invalid_client_id and decides nothing', async () => {
    const asked = await ask(base);
    for (const path of routes(asked)) {
      const headers = clientHeader('client_of_nobody');
      const { status, json } = await call(base, 'POST', path, { json: select('allow'), headers });
      expect([status, json.code]).toEqual([400, 'invalid_client_id']);
    }
    expect(asked.stream.types).not.toContain('permission_resolved');
    expect((await vote(base, asked, select('allow'))).status).toBe(200);
  });

  test('questions of one turn are answered apart from each other', async () => {
    const { sessionId } = await newSession(base);
    const admission = await sendPrompt(base, sessionId, 'permissions:2');
    const stream = await streamFrom(base, sessionId, admission);
    const isSecond = ({ toolCall }: Readonly<Record<string, unknown>>) =>
      (toolCall as { title: string }).title === 'edit 2';
    const first = await stream.event('permission_request');
    const second = await stream.event('permission_request', isSecond);
    for (const [question, optionId] of [
      [second, 'reject'],
      [first, 'allow'],
    ] as const) {
      const { requestId } = question.data as { requestId: string };
      await call(base, 'POST', `/permission/${requestId}`, { json: select(optionId) });
    }
    await stream.settled(admission.promptId);
    expect(stream.texts.map((text) => JSON.parse(text).result.outcome.optionId)).toEqual(['reject', 'allow']);
  });
});

describe('a request id behind a coordinator', () => {
  test('names its workspace, and in another workspace’s name it is unknown', async () => {
    const server = await TARGETS[1]?.[1].start();
    if (server === undefined) throw new Error('no coordinator among the targets');
    const [first, second] = server.workspaces as [string, string];
    const asked = await ask(server.baseUrl, second);
    const [prefix, rest] = asked.requestId.split('.');
    expect(prefix).toBe(workspaceIdOf(second));
    await newSession(server.baseUrl, first);
    for (const requestId of [`${workspaceIdOf(first)}.${rest}`, `0123456789abcdef.${rest}`, String(rest)]) {
      const answer = await call(server.baseUrl, 'POST', `/permission/${requestId}`, {
        json: select('allow'),
      });
      expect([answer.status, answer.json.code]).toEqual([404, undefined]);
    }
    expect((await vote(server.baseUrl, asked, select('allow'))).status).toBe(200);
  });
});

describe.each(TARGETS)('%s with limits on questions', (_name, target) => {
  test('a question over the cap is answered as cancelled at once', async () => {
    const { baseUrl } = await target.start({ flags: ['--max-pending-permissions', '2'] });
    const { sessionId } = await newSession(baseUrl);
    const admission = await sendPrompt(baseUrl, sessionId, 'permissions:3');
    const stream = await streamFrom(baseUrl, sessionId, admission);
    await stream.frame(
      'the third answer',
      ({ envelope }) => (envelope && stream.texts.length === 1) === true,
    );
    expect(JSON.parse(stream.texts[0] as string).result.outcome).toEqual({ outcome: 'cancelled' });
    expect(stream.ofType('permission_request')).toHaveLength(2);
  });

  test('a question that nobody answers is cancelled after its timeout, and the agent is told why', async () => {
    const { baseUrl } = await target.start({ flags: ['--permission-response-timeout-ms', '100'] });
    const asked = await ask(baseUrl);
    expect(await agentsAnswer(asked)).toEqual({
      outcome: { outcome: 'cancelled' },
      _meta: { 'qwen.daemon.permissionCancelReason': 'timeout' },
    });
    expect((await asked.stream.event('permission_resolved')).data).not.toHaveProperty('voterClientId');
  });
});

/** A shared session with further clients, in which the first one has asked. */
async function askWithClients(base: string, others: number) {
  const { sessionId, clientId } = await createSession(base);
  const clients = [clientId];
  for (let index = 0; index < others; index += 1) clients.push((await createSession(base)).clientId);
  const admission = await sendPrompt(base, sessionId, 'permission', clientId);
  const stream = await streamFrom(base, sessionId, admission);
  const { requestId } = (await stream.event('permission_request')).data as { requestId: string };
  return { asked: { sessionId, clientId, promptId: admission.promptId, requestId, stream }, clients };
}

describe('the designated policy', () => {
  let base: string;

  beforeAll(async () => {
    base = (await BARE_DAEMON.start({ flags: ['--permission-policy', 'designated'] })).baseUrl;
  });

  test('is published', async () => {
    expect((await call(base, 'GET', '/capabilities')).json.policy).toEqual({ permission: 'designated' });
  });

  test('refuses everybody but the prompt’s client with 403 and tells the session', async () => {
    const { asked, clients } = await askWithClients(base, 1);
    const [originator, other] = clients;
    for (const voter of [other, undefined]) {
      const { status, json } = await vote(base, asked, select('allow'), voter);
      expect(status).toBe(403);
      expect(json).toMatchObject({
        code: 'permission_forbidden',
        requestId: asked.requestId,
        sessionId: asked.sessionId,
        reason: 'designated_mismatch',
      });
    }
    expect((await asked.stream.event('permission_forbidden')).data).toEqual({
      requestId: asked.requestId,
      sessionId: asked.sessionId,
      clientId: other,
      reason: 'designated_mismatch',
    });
    expect((await vote(base, asked, select('allow'), originator)).status).toBe(200);
  });

  test('lets anybody decide where the prompt was anonymous', async () => {
    const asked = await ask(base, undefined, 'anonymous');
    expect((await vote(base, asked, select('allow'))).status).toBe(200);
  });

  test('lets anybody cancel', async () => {
    const asked = await ask(base);
    expect((await vote(base, asked, CANCEL)).status).toBe(200);
  });
});

describe('the consensus policy', () => {
  let base: string;

  beforeAll(async () => {
    base = (await BARE_DAEMON.start({ flags: ['--permission-policy', 'consensus'] })).baseUrl;
  });

  test('counts each registered client once, and decides at the majority', async () => {
    const { asked, clients } = await askWithClients(base, 2);
    const [first, second] = clients;
    expect((await vote(base, asked, select('allow'), first)).status).toBe(200);
    expect((await asked.stream.event('permission_partial_vote')).data).toEqual({
      requestId: asked.requestId,
      sessionId: asked.sessionId,
      votesReceived: 1,
      votesNeeded: 1,
      quorum: 2,
      optionTallies: { allow: 1 },
    });
    // A repetition is 200 and counts for nothing, whatever it says now.
    expect((await vote(base, asked, select('reject'), first)).status).toBe(200);
    expect((await vote(base, asked, select('allow'), second)).status).toBe(200);
    expect(await agentsAnswer(asked)).toEqual({ outcome: { outcome: 'selected', optionId: 'allow' } });
    expect(asked.stream.ofType('permission_partial_vote')).toHaveLength(1);
    await call(base, 'DELETE', `/session/${asked.sessionId}`);
  });

  test('refuses who was not registered when the question came', async () => {
    const { asked } = await askWithClients(base, 1);
    const late = await createSession(base);
    for (const voter of [late.clientId, undefined]) {
      const { status, json } = await vote(base, asked, select('allow'), voter);
      expect([status, json.reason]).toEqual([403, 'designated_mismatch']);
    }
    await call(base, 'DELETE', `/session/${asked.sessionId}`);
  });

  test('stays open while the votes are split', async () => {
    const { asked, clients } = await askWithClients(base, 1);
    await vote(base, asked, select('allow'), clients[0]);
    await vote(base, asked, select('reject'), clients[1]);
    const split = await asked.stream.event(
      'permission_partial_vote',
      ({ votesReceived }) => votesReceived === 2,
    );
    expect(split.data).toMatchObject({ votesNeeded: 1, optionTallies: { allow: 1, reject: 1 } });
    const { json } = await call(base, 'GET', `/session/${asked.sessionId}/status`);
    expect(json.isWaitingForPermission).toBe(true);
    await call(base, 'DELETE', `/session/${asked.sessionId}`);
  });
});

describe('the local-only policy', () => {
  test('lets a client on this machine decide, anonymous or not', async () => {
    const { baseUrl } = await BARE_DAEMON.start({ flags: ['--permission-policy', 'local-only'] });
    const asked = await ask(baseUrl);
    expect((await vote(baseUrl, asked, select('allow'))).status).toBe(200);
  });
});
