import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RateLimiter, type Tier, tierOf } from '../../../daemon/domain/rate-limit.ts';

const LIMITS = { windowMs: 1000, perWindow: { prompt: 2, mutation: 3, read: 5 } };

describe('a window', () => {
  test('counts down, refuses beyond its limit, and says when it ends', () => {
    const limiter = new RateLimiter(LIMITS);
    expect(limiter.take('c', 'prompt', 100)).toEqual({
      isAllowed: true,
      limit: 2,
      remaining: 1,
      resetMs: 1000,
    });
    expect(limiter.take('c', 'prompt', 400)).toEqual({
      isAllowed: true,
      limit: 2,
      remaining: 0,
      resetMs: 700,
    });
    expect(limiter.take('c', 'prompt', 1099)).toEqual({
      isAllowed: false,
      limit: 2,
      remaining: 0,
      resetMs: 1,
    });
    expect(limiter.take('c', 'prompt', 1100)).toMatchObject({ isAllowed: true, resetMs: 1000 });
    expect(limiter.hits).toEqual({ prompt: 1, mutation: 0, read: 0 });
  });

  test('is each client’s and each tier’s own', () => {
    const limiter = new RateLimiter(LIMITS);
    for (let taken = 0; taken < 5; taken += 1) limiter.take('loud', 'prompt', 0);
    expect(limiter.take('quiet', 'prompt', 0).isAllowed).toBe(true);
    expect(limiter.take('loud', 'read', 0).isAllowed).toBe(true);
  });

  test('never lets more through than a naive count, and never fewer', () => {
    const request = fc.record({
      client: fc.constantFrom('a', 'b', 'prompt a'),
      tier: fc.constantFrom<Tier>('prompt', 'mutation', 'read'),
      afterMs: fc.nat({ max: 600 }),
    });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 80 }), (requests) => {
        const limiter = new RateLimiter(LIMITS);
        const windows = new Map<string, { startMs: number; count: number }>();
        let nowMs = 0;
        for (const { client, tier, afterMs } of requests) {
          nowMs += afterMs;
          const key = JSON.stringify([client, tier]);
          const known = windows.get(key);
          const window =
            known !== undefined && nowMs - known.startMs < LIMITS.windowMs
              ? known
              : { startMs: nowMs, count: 0 };
          windows.set(key, window);
          window.count += 1;
          expect(limiter.take(client, tier, nowMs).isAllowed).toBe(window.count <= LIMITS.perWindow[tier]);
        }
      }),
    );
  });

  test('of the longest silent client goes first when there are too many', () => {
    const limiter = new RateLimiter(LIMITS);
    for (let client = 0; client < 10_001; client += 1)
      for (let taken = 0; taken < 2; taken += 1) limiter.take(`c${client}`, 'prompt', 0);
    expect(limiter.take('c0', 'prompt', 1).isAllowed).toBe(true);
    expect(limiter.take('c10000', 'prompt', 1).isAllowed).toBe(false);
  });
});

describe('the tier of a request', () => {
  test.each<[string, string, Tier | undefined]>([
    ['GET', '/health', undefined],
    ['POST', '/session/s/heartbeat', undefined],
    ['GET', '/session/s/events', undefined],
    ['GET', '/control/feed', undefined],
    ['POST', '/session/s/prompt', 'prompt'],
    ['POST', '/session', 'mutation'],
    ['POST', '/session/s/cancel', 'mutation'],
    ['DELETE', '/session/s', 'mutation'],
    ['PATCH', '/session/s/metadata', 'mutation'],
    ['GET', '/session/s/status', 'read'],
    ['HEAD', '/capabilities', 'read'],
    ['GET', '/session/s/prompt', 'read'],
    ['GET', '/no/such/route', 'read'],
    ['BREW', '/coffee', 'mutation'],
    ['POST', '/sessions/catalog', 'read'],
    ['POST', '/sessions/delete', 'mutation'],
  ])('%s %s', (method, path, tier) => expect(tierOf(method, path)).toBe(tier));

  // The router takes a path in any case and with a slash at its end.
  test.each([
    ['/session/s/prompt/'],
    ['/Session/s/PROMPT'],
    ['/session/s/prompt?x=/y'],
    ['http://h:1/session/s/prompt'],
  ])('is that of a prompt however its path is written: %s', (path) =>
    expect(tierOf('POST', path)).toBe('prompt'),
  );

  test.each([['/session/s/x/prompt'], ['/session//prompt'], ['/w/session/s/prompt']])(
    'is that of another change where it only looks like a prompt: %s',
    (path) => expect(tierOf('POST', path)).toBe('mutation'),
  );
});
