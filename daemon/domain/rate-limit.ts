// Requests per client and window, by tier. Off unless configured. Pure: time is an argument, memory is bounded.

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

/** Windows that are remembered. Beyond that the oldest are forgotten, which lets their clients begin a new one. */
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

  /** Counts one request of `client`. */
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
 * The tier of a request, or undefined for what is never limited: health, heartbeats, event streams, control. `target` is
 * the request's target as it came; like the router, this takes a path in any case and with a slash at its end.
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
  // The listings of several workspaces need a body to ask for them.
  return isRead || (method === 'POST' && path === '/sessions/catalog') ? 'read' : 'mutation';
}

/** Without query, trailing slash, and the authority that an absolute target begins with. */
function pathOf(target: string): string {
  const path = target.replace(/^https?:\/\/[^/?]*/i, '').split('?', 1)[0] ?? '';
  return path.replace(/\/$/, '').toLowerCase();
}
