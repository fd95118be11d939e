// Decides which headers pass from the client to the daemon and back. Every header that conveys trust is dropped and set anew.
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { FEED_SEQ_HEADER, INTERNAL_HEADER_PREFIX, REQUEST_ID_HEADER } from '../../daemon/contract/control.ts';
import { type Caller, trustHeaders } from '../upstream/trust-headers.ts';

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Headers in which a client says who it is or where it comes from: the coordinator has judged them, so no daemon sees them. */
const CLIENT_TRUST = new Set(['authorization', 'expect', 'forwarded', 'host', 'origin', REQUEST_ID_HEADER]);

/**
 * The headers of the request to the daemon: the client's end-to-end headers with the trust headers on top. Body framing
 * (Content-Length, Transfer-Encoding) is left to the caller, because a client's `Connection: content-length` must not strip it.
 */
export function upstreamHeaders(req: IncomingMessage, secret: string, caller: Caller): OutgoingHttpHeaders {
  const listed = connectionTokens(req.headers.connection);
  const kept: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(req.headers)) {
    if (value !== undefined && isPassedUp(name) && !listed.has(name)) kept[name] = value;
  }
  return Object.assign(kept, trustHeaders(secret, caller));
}

function isPassedUp(name: string): boolean {
  return !(
    HOP_BY_HOP.has(name) ||
    CLIENT_TRUST.has(name) ||
    name === 'content-length' ||
    name.startsWith('x-forwarded-') ||
    name.startsWith(INTERNAL_HEADER_PREFIX)
  );
}

function connectionTokens(value: string | undefined): ReadonlySet<string> {
  return new Set((value ?? '').split(',').map((token) => token.trim().toLowerCase()));
}

/** The headers of the daemon's answer that the client gets, as [name, values] in the daemon's spelling and order. */
export function downstreamHeaders(
  answer: Pick<IncomingMessage, 'rawHeaders' | 'headers'>,
): [string, string[]][] {
  const listed = connectionTokens(answer.headers.connection);
  const byName = new Map<string, [string, string[]]>();
  for (let at = 0; at + 1 < answer.rawHeaders.length; at += 2) {
    const spelled = answer.rawHeaders[at] as string;
    const name = spelled.toLowerCase();
    if (!isPassedDown(name) || listed.has(name)) continue;
    const entry = byName.get(name) ?? [spelled, []];
    entry[1].push(answer.rawHeaders[at + 1] as string);
    byName.set(name, entry);
  }
  return [...byName.values()];
}

function isPassedDown(name: string): boolean {
  return !HOP_BY_HOP.has(name) && name !== FEED_SEQ_HEADER && !name.startsWith(INTERNAL_HEADER_PREFIX);
}
