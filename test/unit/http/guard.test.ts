import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import { checkAccess, type ListenerPolicy, peerOf, requireTrusted } from '../../../coordinator/http/guard.ts';
import { ApiError } from '../../../daemon/contract/errors.ts';

const POLICY: ListenerPolicy = {
  listener: 'tcp',
  boundHost: '127.0.0.1',
  port: 4170,
  token: 'right',
  requireAuth: false,
  allowedOrigins: ['https://app.example'],
  trustedProxies: [],
};

interface Asked {
  method?: string;
  url?: string;
  headers?: Record<string, string>;
  address?: string;
}

function asked({ method = 'GET', url = '/capabilities', headers = {}, address = '127.0.0.1' }: Asked) {
  return {
    method,
    url,
    headers: { host: '127.0.0.1:4170', ...headers },
    socket: { remoteAddress: address },
  } as unknown as IncomingMessage;
}

function answer() {
  const headers = new Map<string, string>();
  const seen: { status?: number } = {};
  const res = {
    setHeader: (name: string, value: string) => headers.set(name.toLowerCase(), value),
    hasHeader: (name: string) => headers.has(name.toLowerCase()),
    writeHead: (status: number) => {
      seen.status = status;
      return res;
    },
    end: () => res,
  };
  return { res: res as unknown as ServerResponse, headers, seen };
}

/** The status of the refusal, or `passed` / `answered`. */
function verdict(request: Asked, policy: Partial<ListenerPolicy> = {}) {
  const { res, headers, seen } = answer();
  try {
    return { is: checkAccess({ ...POLICY, ...policy }, asked(request), res), headers, seen };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { is: error.status, text: error.message, headers, seen };
  }
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('the order of refusals', () => {
  test('a foreign Host is refused before a foreign Origin', () => {
    const headers = { host: 'evil.example', origin: 'https://evil.example' };
    expect(verdict({ headers })).toMatchObject({ is: 403, text: 'Invalid Host header' });
  });

  test('a foreign Origin is 403 before a missing token is 401, with Vary', () => {
    const found = verdict({ headers: { origin: 'https://evil.example' } });
    expect(found).toMatchObject({ is: 403, text: 'Request denied by CORS policy' });
    expect(found.headers.get('vary')).toBe('Origin');
  });

  test('a foreign Origin is refused on /health too', () => {
    expect(verdict({ url: '/health', headers: { origin: 'null' } }).is).toBe(403);
  });

  test('a wrong token is 401, also for routes that nobody has', () => {
    expect(verdict({ url: '/nothing-here', headers: bearer('wrong') })).toMatchObject({
      is: 401,
      text: 'Unauthorized',
    });
  });

  test('a 401 for an allowed origin carries its CORS headers, so that the page can read it', () => {
    const found = verdict({ headers: { origin: 'https://app.example' } });
    expect(found.is).toBe(401);
    expect(found.headers.get('access-control-allow-origin')).toBe('https://app.example');
  });
});

describe('what passes', () => {
  test('the right token, and our own origin', () => {
    expect(verdict({ headers: bearer('right') }).is).toBe('passed');
    expect(verdict({ headers: { ...bearer('right'), origin: 'http://localhost:4170' } }).is).toBe('passed');
  });

  test('a preflight of an allowed origin is answered 204 before the token is asked for', () => {
    const headers = { origin: 'https://app.example', 'access-control-request-method': 'POST' };
    expect(verdict({ method: 'OPTIONS', headers })).toMatchObject({ is: 'answered', seen: { status: 204 } });
  });

  test('a preflight without an origin is not answered', () => {
    expect(verdict({ method: 'OPTIONS', headers: { 'access-control-request-method': 'POST' } }).is).toBe(401);
  });

  test('/health without a token on loopback, but not with require-auth or beside its exact path', () => {
    expect(verdict({ url: '/health?deep=1' }).is).toBe('passed');
    expect(verdict({ url: '/health' }, { requireAuth: true }).is).toBe(401);
    expect(verdict({ url: '/healthy' }).is).toBe(401);
    expect(verdict({ url: '/health', method: 'POST' }).is).toBe(401);
    expect(verdict({ url: '/health' }, { boundHost: '0.0.0.0' }).is).toBe(401);
  });

  test('a page served from a public name passes with the token, and only with it', () => {
    const open = { boundHost: '0.0.0.0' };
    const headers = { host: 'fleet.example', origin: 'https://fleet.example' };
    expect(verdict({ headers: { ...headers, ...bearer('right') } }, open).is).toBe('passed');
    expect(verdict({ headers }, open).is).toBe(403);
  });

  test('anyone who reaches the unix socket, whatever Host and Origin say', () => {
    const unix = { listener: 'unix' as const, token: undefined };
    expect(verdict({ headers: { host: 'x', origin: 'https://evil.example' } }, unix).is).toBe('passed');
  });
});

describe('the true peer', () => {
  const peer = (request: Asked, policy: Partial<ListenerPolicy> = {}) =>
    peerOf({ ...POLICY, ...policy }, asked(request));

  test('is told by the address of the socket', () => {
    expect(peer({ address: '127.0.0.1' })).toBe('loopback');
    expect(peer({ address: '::ffff:127.0.0.1' })).toBe('loopback');
    expect(peer({ address: '192.0.2.7' })).toBe('remote');
  });

  test.each(['forwarded', 'x-forwarded-for'])(
    'a request with %s from a peer that nobody vouched for is remote',
    (name) => {
      expect(peer({ headers: { [name]: 'for=127.0.0.1' } })).toBe('remote');
      expect(peer({ headers: { [name]: '127.0.0.1' } })).toBe('remote');
    },
  );

  test('a trusted proxy is believed, but only for the hop that it saw', () => {
    const trusting = { trustedProxies: ['127.0.0.1'] };
    const from = (hops: string) => peer({ headers: { 'x-forwarded-for': hops } }, trusting);
    expect(from('192.0.2.7')).toBe('remote');
    expect(from('127.0.0.1, 192.0.2.7')).toBe('remote');
    expect(from('127.0.0.2')).toBe('loopback');
  });

  test('without a token a remote peer may not change the fleet', () => {
    expect(() => requireTrusted({ ...POLICY, token: undefined }, 'remote')).toThrow(/needs a token/);
    expect(() => requireTrusted({ ...POLICY, token: undefined }, 'loopback')).not.toThrow();
    expect(() => requireTrusted(POLICY, 'remote')).not.toThrow();
  });
});
