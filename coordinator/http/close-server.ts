// Closes an HTTP server: it accepts no new connections, idle connections are cut at once, and busy ones after a grace period.
import type { Server } from 'node:http';
import type { Clock } from '../../daemon/contract/clock.ts';

/** Resolves when every connection of `server` is gone, at the latest a moment after `graceMs`. May be called twice. */
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
