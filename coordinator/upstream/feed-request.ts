// The request that a feed is read from.
import type { ClientRequest } from 'node:http';
import { FEED_PATH } from '../../daemon/contract/feed.ts';
import type { Reach } from './address.ts';
import { requestTo } from './dial.ts';

/** Asks for the daemon's feed on a new connection; send it with `end`. The answer goes on for as long as the daemon runs. */
export function requestFeed({ address, secret }: Reach): ClientRequest {
  return requestTo(address, {
    path: FEED_PATH,
    headers: { authorization: `Bearer ${secret}` },
    agent: false,
  });
}
