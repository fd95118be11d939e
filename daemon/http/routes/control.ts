// The routes between a daemon and its coordinator. They exist only on the incarnation's socket, behind its secret.

import type { DaemonIdentity } from '../../contract/feed.ts';
import { CONTRACT_VERSION } from '../../contract/handshake.ts';
import { type Handler, ok } from '../call.ts';
import type { RouteContext } from '../routes.ts';

export function identity({ self, version }: RouteContext): Handler {
  return () => {
    const body: DaemonIdentity = {
      contract: CONTRACT_VERSION,
      incarnation: self.incarnation,
      pid: self.pid,
      startTime: self.startTime,
      version,
      ending: self.isEnding(),
    };
    return ok(body);
  };
}

export function feed({ feed: source }: RouteContext): Handler {
  return ({ res }) => {
    res.writeHead(200, { 'Content-Type': 'application/x-ndjson', 'Cache-Control': 'no-store' });
    res.flushHeaders();
    source.follow(res);
    return 'streaming';
  };
}
