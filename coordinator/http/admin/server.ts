// The admin plane on a unix socket of its own: the file mode decides who connects, so it works without a token and
// while the listener is full.
import { createServer, type Server } from 'node:http';
import type Router from '@koa/router';
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { closeServer } from '../close-server.ts';
import { createKoaApp } from '../koa-app.ts';

export interface AdminServer {
  /** The composition root listens with it, on a path in a 0700 directory. */
  readonly server: Server;
  /** Idempotent; ends within `graceMs`. */
  close(graceMs: number): Promise<void>;
}

/** What is still read of a body that was refused; those of operators are far smaller. */
const SPARE_BYTES = 64 * 1024;

export function createAdminServer(router: Router, clock: Clock, log: Log): AdminServer {
  const handle = createKoaApp([router], SPARE_BYTES, log);
  const server = createServer((req, res) => {
    handle(req, res).catch((error: unknown) => {
      log.error({ err: error }, 'admin request failed');
      res.destroy();
    });
  });
  return { server, close: (graceMs) => closeServer(server, graceMs, clock) };
}
