// Counts each request against the rate limits of its client, and refuses a request over its limit before a handler runs.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import type { Limits } from '../contract/limits.ts';
import { CLIENT_ID_HEADER, isClientId } from '../contract/wire.ts';
import { RateLimiter, type Tier, tierOf } from '../domain/rate-limit.ts';
import { headerOf } from './call.ts';

export class RateGate {
  readonly #limiter: RateLimiter;
  readonly #clock: Clock;

  constructor(limits: Limits, clock: Clock) {
    this.#clock = clock;
    this.#limiter = new RateLimiter({
      windowMs: limits.rateLimitWindowMs,
      perWindow: {
        prompt: limits.rateLimitPrompt,
        mutation: limits.rateLimitMutation,
        read: limits.rateLimitRead,
      },
    });
  }

  /** Number of requests refused since the start, by tier. */
  get hits(): Readonly<Record<Tier, number>> {
    return this.#limiter.hits;
  }

  /**
   * Counts the request and sets the X-RateLimit headers; does neither for a request without a tier, such as `/health`.
   * @throws ApiError 429 for a request over its limit.
   */
  check(req: IncomingMessage, res: ServerResponse): void {
    const tier = tierOf(req.method ?? 'GET', req.url ?? '');
    if (tier === undefined) return;
    const verdict = this.#limiter.take(clientKey(req), tier, this.#clock.monotonicMs());
    const resetMs = Math.max(1, Math.ceil(verdict.resetMs));
    const retryAfterS = Math.ceil(resetMs / 1000);
    res.setHeader('X-RateLimit-Limit', verdict.limit);
    res.setHeader('X-RateLimit-Remaining', verdict.remaining);
    res.setHeader('X-RateLimit-Reset', retryAfterS);
    if (verdict.isAllowed) return;
    throw fail(
      'rate_limit_exceeded',
      `Too many requests of this kind: the limit is ${verdict.limit} per window`,
      { tier, retryAfterMs: resetMs },
      retryAfterS,
    );
  }
}

/** The key under which a client's requests are counted: the client id, or the address when the request has no valid client id. */
function clientKey(req: IncomingMessage): string {
  const id = headerOf(req, CLIENT_ID_HEADER);
  return id !== undefined && isClientId(id) ? `id ${id}` : `at ${req.socket.remoteAddress ?? 'socket'}`;
}
