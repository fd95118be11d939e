// Opens connections to daemons. Besides address.ts, no other file looks into an address.
import { Agent, type ClientRequest, request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest, Agent as TlsAgent } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import { DAEMON_HOST, type DaemonAddress } from './address.ts';

/** The options of a request, without its destination. */
export type DialledRequest = Pick<RequestOptions, 'method' | 'path' | 'headers' | 'signal' | 'agent'>;

/** A request to the process at the address, to be sent with `end`. Its `agent` is a `connectionPool`, or false for no pool. */
export function requestTo(address: DaemonAddress, request: DialledRequest): ClientRequest {
  if (address.kind === 'unix') return httpRequest({ ...request, socketPath: address.path });
  const { host, port, tls } = address;
  if (tls === undefined) return httpRequest({ ...request, host, port });
  return httpsRequest({ ...request, host, port, servername: DAEMON_HOST, ...contextOf(address) });
}

/** Keep-alive connections to the address; a free connection is kept for `idleMs`. */
export function connectionPool(address: DaemonAddress, idleMs: number): Agent {
  const options = { keepAlive: true, timeout: idleMs, scheduling: 'lifo' } as const;
  if (address.kind === 'unix' || address.tls === undefined) return new Agent(options);
  return new TlsAgent({ ...options, servername: DAEMON_HOST, ...contextOf(address) });
}

/** An address as the proxy library takes it. Not a URL: the library would normalise the path. */
export interface ProxyTarget {
  readonly protocol: 'http:' | 'https:';
  readonly host: string;
  readonly port: number;
  readonly socketPath?: string;
}

export function proxyTarget(address: DaemonAddress): ProxyTarget {
  if (address.kind === 'unix')
    return { protocol: 'http:', host: DAEMON_HOST, port: 80, socketPath: address.path };
  const { host, port, tls } = address;
  // The proxy library gets the TLS material with the connection pool.
  return { protocol: tls === undefined ? 'http:' : 'https:', host, port };
}

function contextOf(address: DaemonAddress): SecureContextOptions {
  if (address.kind === 'unix' || address.tls === undefined) return {};
  const { ca, own } = address.tls;
  return { ca, ...own };
}
