// The trust headers: they show a daemon that its coordinator asks, and on behalf of which client.
import { PEER_HEADER, REQUEST_ID_HEADER, TOKEN_NAME_HEADER } from '../../daemon/contract/control.ts';
import type { Peer } from '../../daemon/contract/wire.ts';
import { DAEMON_HOST } from './address.ts';

export interface Caller {
  readonly peer: Peer;
  readonly requestId: string;
  /** Name of the token that the client showed; absent when the coordinator has no token. */
  readonly tokenName?: string;
}

/** The trust headers for a request to the daemon that expects `secret`. */
export function trustHeaders(secret: string, caller: Caller): Record<string, string> {
  return {
    host: DAEMON_HOST,
    authorization: `Bearer ${secret}`,
    [PEER_HEADER]: caller.peer,
    [REQUEST_ID_HEADER]: caller.requestId,
    ...(caller.tokenName === undefined ? {} : { [TOKEN_NAME_HEADER]: caller.tokenName }),
  };
}
