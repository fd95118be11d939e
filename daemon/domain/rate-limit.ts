// The rate limit: counts the requests of each client in a time window, by tier. Used only when it is configured. Pure: time is
// an argument, memory is bounded.

export type Tier = 'prompt' | 'mutation' | 'read';

export interface RateLimits {
  readonly windowMs: number;
  readonly perWindow: Readonly<Record<Tier, number>>;
}

export interface RateVerdict {
  readonly isAllowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Milliseconds until the window ends. */
  readonly resetMs: number;
}

interface Window {
  startMs: number;
  count: number;
}

/** Most windows in memory. Over it the oldest window is deleted, so that its client's next request begins a new window. */
const MAX_WINDOWS = 10_000;

export class RateLimiter {
  readonly #limits: RateLimits;
  readonly #windows = new Map<string, Window>();
  readonly #hits: Record<Tier, number> = { prompt: 0, mutation: 0, read: 0 };

  constructor(limits: RateLimits) {
    this.#limits = limits;
  }

  /** Requests refused so far, by tier. */
  get hits(): Readonly<Record<Tier, number>> {
    return { ...this.#hits };
  }

  /** Counts one request of `client`, unless it is refused. */
  take(client: string, tier: Tier, nowMs: number): RateVerdict {
    const limit = this.#limits.perWindow[tier];
    const window = this.#windowOf(`${tier} ${client}`, nowMs);
    const resetMs = window.startMs + this.#limits.windowMs - nowMs;
    if (window.count >= limit) {
      this.#hits[tier] += 1;
      return { isAllowed: false, limit, remaining: 0, resetMs };
    }
    window.count += 1;
    return { isAllowed: true, limit, remaining: limit - window.count, resetMs };
  }

  #windowOf(key: string, nowMs: number): Window {
    const known = this.#windows.get(key);
    if (known !== undefined && nowMs - known.startMs < this.#limits.windowMs) return known;
    const fresh = { startMs: nowMs, count: 0 };
    // Re-inserted, so that the map's order is the order of the windows' starts.
    this.#windows.delete(key);
    this.#windows.set(key, fresh);
    if (this.#windows.size > MAX_WINDOWS) this.#windows.delete(this.#windows.keys().next().value as string);
    return fresh;
  }
}

/**
 * The tier of a request; undefined for a request that is never limited: health, heartbeats, event streams, control.
 * @param target the raw request target. As for the router, its path may be in any case and end in a slash.
 */
export function tierOf(method: string, target: string): Tier | undefined {
  const path = pathOf(target);
  if (
    path === '/health' ||
    path.startsWith('/control/') ||
    /^\/session\/[^/]+\/(?:heartbeat|events)$/.test(path)
  )
    return undefined;
  if (method === 'POST' && /^\/session\/[^/]+\/prompt$/.test(path)) return 'prompt';
  const isRead = method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
  // A read although it is a POST: its body names the workspaces whose sessions are listed.
  return isRead || (method === 'POST' && path === '/sessions/catalog') ? 'read' : 'mutation';
}

/** The path of a request target in lower case, without query, trailing slash, and the authority of an absolute target. */
function pathOf(target: string): string {
  const path = target.replace(/^https?:\/\/[^/?]*/i, '').split('?', 1)[0] ?? '';
  return path.replace(/\/$/, '').toLowerCase();
}
