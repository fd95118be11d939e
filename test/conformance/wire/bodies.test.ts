// Bodies, paths and ids as they may come (protocol 1.5).
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { endFleets } from '../../support/fleet-process.ts';
import { TARGETS } from '../../support/targets.ts';
import { call, createSession, newSession } from '../../support/wire-client.ts';

const MIB = 1024 * 1024;
const JSON_TYPE = { 'content-type': 'application/json' };

afterAll(endFleets);

describe.each(TARGETS)('%s', (_name, target) => {
  let base: string;
  let sessionId: string;

  beforeAll(async () => {
    base = (await target.start()).baseUrl;
    // The default session: what an empty body attaches to.
    sessionId = (await createSession(base)).sessionId;
  });

  test.each([['/session'], ['/session/:id/prompt']])(
    'a JSON body over 10 MiB is 413 in the protocol’s words: POST %s',
    async (path) => {
      const body = Buffer.alloc(10 * MIB + 1, ' ');
      const answer = await call(base, 'POST', path.replace(':id', sessionId), { headers: JSON_TYPE, body });
      expect([answer.status, answer.text]).toEqual([413, '{"error":"Request body too large (max 10 MB)"}']);
    },
  );

  test('a body of undeclared length is held to the same cap', async () => {
    const headers = { ...JSON_TYPE, 'transfer-encoding': 'chunked' };
    const body = Buffer.alloc(10 * MIB + 1, ' ');
    const answer = await call(base, 'POST', `/session/${sessionId}/prompt`, { headers, body });
    expect(answer.status).toBe(413);
  });

  test('a body of exactly 10 MiB is read', async () => {
    const prompt = [{ type: 'text', text: '' }];
    const bare = JSON.stringify({ prompt, pad: '' }).length;
    const body = JSON.stringify({ prompt, pad: 'x'.repeat(10 * MIB - bare) });
    const answer = await call(base, 'POST', `/session/${sessionId}/prompt`, { headers: JSON_TYPE, body });
    expect(answer.status).toBe(202);
  });

  test.each([['/session'], ['/session/:id/prompt'], ['/session/:id/heartbeat']])(
    'invalid JSON is 400 in the protocol’s words: POST %s',
    async (path) => {
      const target = path.replace(':id', sessionId);
      const answer = await call(base, 'POST', target, { headers: JSON_TYPE, body: '{"cwd":' });
      expect([answer.status, answer.text]).toEqual([400, '{"error":"Invalid JSON in request body"}']);
    },
  );

  test.each([['[]'], ['"text"'], ['null'], ['17'], ['[{"cwd":"relative"}]'], ['']])(
    'a body that is no object counts as {}: %s',
    async (body) => {
      const answer = await call(base, 'POST', '/session', { headers: JSON_TYPE, body });
      expect(answer.json).toMatchObject({ sessionId, attached: true });
    },
  );

  test('a body of another content type counts as {}', async () => {
    const headers = { 'content-type': 'text/plain' };
    const answer = await call(base, 'POST', '/session', { headers, body: '{"cwd":"relative"}' });
    expect(answer.json).toMatchObject({ sessionId, attached: true });
  });

  test('no body at all counts as {}', async () => {
    expect((await call(base, 'POST', '/session')).json).toMatchObject({ sessionId, attached: true });
  });

  test('reserved top-level keys are dropped silently', async () => {
    const body =
      '{"__proto__":{"cwd":"relative"},"constructor":{"cwd":"x"},"prototype":{"sessionScope":"?"}}';
    const answer = await call(base, 'POST', '/session', { headers: JSON_TYPE, body });
    expect(answer.json).toMatchObject({ sessionId, attached: true });
  });

  test('unknown fields are ignored', async () => {
    const answer = await call(base, 'POST', '/session', { json: { colour: 'green' } });
    expect(answer.json).toMatchObject({ sessionId, attached: true });
  });

  test.each([['/session/%zz/status'], ['/session/%E0%A4%A/status'], ['/%'], ['/workspace/%ff/sessions']])(
    'malformed percent-encoding is 400 invalid_request: %s',
    async (path) => {
      const answer = await call(base, 'GET', path);
      expect([answer.status, answer.json]).toEqual([
        400,
        { error: 'Malformed URL encoding', code: 'invalid_request' },
      ]);
    },
  );

  test('a session id is looked up in lower case when it is a UUID', async () => {
    const chosen = randomUUID();
    await createSession(base, { sessionId: chosen });
    const answer = await call(base, 'GET', `/session/${chosen.toUpperCase()}/status`);
    expect([answer.status, answer.json.sessionId]).toEqual([200, chosen]);
  });

  test('an encoded session id means the same session', async () => {
    const { sessionId: id } = await newSession(base);
    const encoded = `%${id.charCodeAt(0).toString(16)}${id.slice(1)}`;
    expect((await call(base, 'GET', `/session/${encoded}/status`)).json.sessionId).toBe(id);
  });

  test.each([
    ['GET', '/status'],
    ['GET', '/events'],
    ['GET', '/pending-prompts'],
    ['POST', '/prompt'],
    ['POST', '/cancel'],
    ['POST', '/heartbeat'],
    ['POST', '/detach'],
    ['DELETE', ''],
  ])('an unknown session is 404 session_not_found with its id: %s /session/:id%s', async (method, suffix) => {
    const answer = await call(base, method, `/session/no-such-session${suffix}`, { json: { prompt: [{}] } });
    expect(answer.status).toBe(404);
    expect(answer.json).toMatchObject({ code: 'session_not_found', sessionId: 'no-such-session' });
  });
});
