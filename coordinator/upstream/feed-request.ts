// Makes the request for a daemon's feed.
import type { ClientRequest } from 'node:http';
import { FEED_PATH } from '../../daemon/contract/feed.ts';
import type { Reach } from './address.ts';
import { requestTo } from './dial.ts';

/** A request for the daemon's feed on a new connection, to be sent with `end`. Its answer goes on while the daemon runs. */
export function requestFeed({ address, secret }: Reach): ClientRequest {
  return requestTo(address, {
    path: FEED_PATH,
    headers: { authorization: `Bearer ${secret}` },
    agent: false,
  });
}
