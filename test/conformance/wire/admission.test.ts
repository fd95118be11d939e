// Who is let in, in which order refusals win, and what a refusal looks like (protocol 1.1 to 1.3).
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { endFleets, type Server } from '../../support/fleet-process.ts';
import { TARGETS } from '../../support/targets.ts';
import { type Answer, call } from '../../support/wire-client.ts';

const TOKEN = 'correct horse battery';
const AUTHORIZED = { authorization: `Bearer ${TOKEN}` };
const FOREIGN = { origin: 'https://evil.example' };
const FRIEND = 'https://friend.example';

afterAll(endFleets);

describe.each(TARGETS)('%s with a token', (_name, target) => {
  let base: string;

  beforeAll(async () => {
    const flags = ['--token', TOKEN, '--allow-origin', FRIEND];
    base = (await target.start({ flags })).baseUrl;
  });

  function expectUnauthorized(answer: Answer): void {
    expect([answer.status, answer.text]).toEqual([401, '{"error":"Unauthorized"}']);
    expect(answer.headers['www-authenticate']).toBeUndefined();
  }

  function expectForeign(answer: Answer): void {
    expect([answer.status, answer.text]).toEqual([403, '{"error":"Request denied by CORS policy"}']);
    expect(answer.headers.vary).toBe('Origin');
  }

  test.each([
    ['missing', {}],
    ['of another scheme', { authorization: `Basic ${TOKEN}` }],
    ['empty', { authorization: 'Bearer ' }],
    ['wrong', { authorization: 'Bearer wrong' }],
    ['a prefix of the right one', { authorization: `Bearer ${TOKEN.slice(0, -1)}` }],
    ['longer than the right one', { authorization: `Bearer ${TOKEN}x` }],
  ])('a credential that is %s gets the one 401 without a code', async (_case, headers) => {
    expectUnauthorized(await call(base, 'GET', '/capabilities', { headers }));
  });

  test.each([[`bearer ${TOKEN}`], [`BEARER   ${TOKEN}`], [`Bearer \t ${TOKEN}`]])(
    'the scheme has no case and any blanks behind it: %j',
    async (authorization) => {
      expect((await call(base, 'GET', '/capabilities', { headers: { authorization } })).status).toBe(200);
    },
  );

  test.each([
    ['GET', '/health'],
    ['HEAD', '/health'],
    ['GET', '/health/'],
    ['GET', '/health/?deep=1'],
  ])('on loopback %s %s needs no bearer', async (method, path) => {
    expect((await call(base, method, path)).status).toBe(200);
  });

  test('a foreign origin is refused before a missing bearer', async () => {
    expectForeign(await call(base, 'GET', '/capabilities', { headers: FOREIGN }));
  });

  test('a foreign origin is refused with the right bearer too', async () => {
    expectForeign(await call(base, 'GET', '/capabilities', { headers: { ...AUTHORIZED, ...FOREIGN } }));
  });

  test('the origin "null" is refused', async () => {
    expectForeign(await call(base, 'GET', '/health', { headers: { ...AUTHORIZED, origin: 'null' } }));
  });

  test('the listener’s own origin passes without CORS headers', async () => {
    const answer = await call(base, 'GET', '/capabilities', { headers: { ...AUTHORIZED, origin: base } });
    expect(answer.status).toBe(200);
    expect(answer.headers['access-control-allow-origin']).toBeUndefined();
  });

  test('a listed origin passes with CORS headers, on refusals too', async () => {
    for (const headers of [AUTHORIZED, {}]) {
      const answer = await call(base, 'GET', '/capabilities', { headers: { ...headers, origin: FRIEND } });
      expect(answer.headers['access-control-allow-origin']).toBe(FRIEND);
      expect(answer.headers['access-control-expose-headers']).toMatch(
        /^Retry-After, X-Qwen-Event-Epoch, X-Qwen-SSE-Stream-Id, X-Request-Id, X-RateLimit-Limit, /,
      );
      expect(answer.headers.vary).toBe('Origin');
    }
  });

  test('a preflight of a listed origin is 204 before authentication', async () => {
    const headers = { origin: FRIEND, 'access-control-request-method': 'POST' };
    const answer = await call(base, 'OPTIONS', '/session', { headers });
    expect([answer.status, answer.text]).toEqual([204, '']);
    expect(answer.headers['access-control-allow-methods']).toBe('GET, POST, PATCH, DELETE, OPTIONS');
    expect(answer.headers['access-control-allow-headers']).toMatch(
      /^Authorization, Content-Type, X-Qwen-Client-Id, Last-Event-ID, X-Qwen-Event-Epoch, X-Qwen-Workspace, /,
    );
  });

  test.each([['evil.example'], ['evil.example:80'], ['127.0.0.1'], ['127.0.0.1:1']])(
    'a Host that is not ours is refused first of all: %j',
    async (host) => {
      const answer = await call(base, 'GET', '/health', { headers: { ...FOREIGN, host } });
      expect([answer.status, answer.text]).toEqual([403, '{"error":"Invalid Host header"}']);
    },
  );

  test.each([['localhost'], ['LOCALHOST'], ['[::1]'], ['host.docker.internal']])(
    'a loopback name with our port is a Host of ours: %s',
    async (name) => {
      const host = `${name}:${new URL(base).port}`;
      expect((await call(base, 'GET', '/health', { headers: { host } })).status).toBe(200);
    },
  );

  test('a bad token is refused before a malformed body', async () => {
    const headers = { authorization: 'Bearer wrong', 'content-type': 'application/json' };
    expectUnauthorized(await call(base, 'POST', '/session', { headers, body: '{' }));
  });

  test('a bad token is refused before a malformed path', async () => {
    expectUnauthorized(await call(base, 'GET', '/session/%zz/status'));
  });

  test('an unknown route needs the token, and is 404 in HTML with it', async () => {
    expectUnauthorized(await call(base, 'GET', '/no/such/route'));
    const answer = await call(base, 'GET', '/no/such/route', { headers: AUTHORIZED });
    expect(answer.status).toBe(404);
    expect(answer.headers['content-type']).toMatch(/^text\/html/);
    expect(answer.text).toContain('Cannot GET /no/such/route');
  });

  test('a known route by another method is an unknown route', async () => {
    const answer = await call(base, 'PUT', '/session', { headers: AUTHORIZED });
    expect([answer.status, answer.headers['content-type']]).toEqual([404, 'text/html; charset=utf-8']);
  });

  test('/health is open on a loopback listener', async () => {
    const answer = await call(base, 'GET', '/health');
    expect([answer.status, answer.text]).toEqual([200, '{"status":"ok"}']);
  });

  test('a request id of the client comes back, another one is made where it has none or a bad one', async () => {
    const idOf = async (headers: Record<string, string>, path = '/health') =>
      (await call(base, 'GET', path, { headers })).headers['x-request-id'];
    expect(await idOf({ 'x-request-id': 'abc.DEF_1-2' })).toBe('abc.DEF_1-2');
    expect(await idOf({ 'x-request-id': 'abc' }, '/capabilities')).toBe('abc');
    const uuid = /^[0-9a-f]{8}-/;
    expect(await idOf({})).toMatch(uuid);
    expect(await idOf({ 'x-request-id': 'no blanks' })).toMatch(uuid);
    expect(await idOf({ 'x-request-id': 'x'.repeat(65) })).toMatch(uuid);
  });
});

describe.each(TARGETS)('%s with --require-auth', (_name, target) => {
  let server: Server;

  beforeAll(async () => {
    server = await target.start({ flags: ['--token', TOKEN, '--require-auth'] });
  });

  test('/health needs the bearer too', async () => {
    expect((await call(server.baseUrl, 'GET', '/health')).status).toBe(401);
    expect((await call(server.baseUrl, 'GET', '/health', { headers: AUTHORIZED })).status).toBe(200);
  });

  test('the capability says so', async () => {
    const { json } = await call(server.baseUrl, 'GET', '/capabilities', { headers: AUTHORIZED });
    expect(json.features).toContain('require_auth');
  });
});

describe.each(TARGETS)('%s without a token', (_name, target) => {
  test('trusts its own machine', async () => {
    const { baseUrl } = await target.start();
    expect((await call(baseUrl, 'GET', '/capabilities')).status).toBe(200);
  });
});
