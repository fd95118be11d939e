// How an HTTP server ends: it takes no new connections, cuts idle connections at once, and busy ones after a grace.
import type { Server } from 'node:http';
import type { Clock } from '../../daemon/contract/clock.ts';

/** Resolves when every connection is gone, at the latest a moment after `graceMs`. May be called twice. */
export function closeServer(server: Server, graceMs: number, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const hardStop = clock.after(graceMs, () => server.closeAllConnections());
    server.close(() => {
      hardStop.cancel();
      resolve();
    });
    server.closeIdleConnections();
  });
}
