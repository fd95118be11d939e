// The admin plane on a unix socket of its own. The mode of the socket file decides who may connect, so the plane works without a
// token, and also while the listener has all the connections that it may have.
import { createServer, type Server } from 'node:http';
import type Router from '@koa/router';
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { closeServer } from '../close-server.ts';
import { createKoaApp } from '../koa-app.ts';

export interface AdminServer {
  /** Does not listen yet: the composition root binds the server to a unix socket in a 0700 directory. */
  readonly server: Server;
  /** Closes the server within `graceMs`. Idempotent. */
  close(graceMs: number): Promise<void>;
}

/** Bytes that are still read of a refused request's body. The bodies that operators' commands send are far smaller. */
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
