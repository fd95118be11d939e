// The address of a daemon, and its text for the store. A launcher makes the address; only the files in upstream/ connect to it.

export type DaemonAddress = UnixAddress | TcpAddress;

interface UnixAddress {
  readonly kind: 'unix';
  /** Path of the socket; at most 100 bytes. */
  readonly path: string;
}

interface TcpAddress {
  readonly kind: 'tcp';
  readonly host: string;
  readonly port: number;
  /** Absent where the connection is plain, in a network that only the coordinator and its daemons can reach. */
  readonly tls?: TlsMaterial;
}

/** Certificates and key of a TLS connection to a daemon, as PEM. The daemon's certificate has to name `DAEMON_HOST`. */
export interface TlsMaterial {
  /** The authority that signed the daemon's certificate. */
  readonly ca: string;
  /** The coordinator's certificate and key, for a daemon that asks for a client certificate. */
  readonly own?: { readonly cert: string; readonly key: string };
}

/** The name of every daemon in `Host` headers and certificates, wherever it answers. */
export const DAEMON_HOST = 'qwen-daemon';

/** A daemon's address and credentials, as the two texts that the store keeps. */
export interface StoredReach {
  /** The address without any credential, as JSON. */
  readonly address: string;
  /** Every credential: the bearer, and the TLS material where the address has some. */
  readonly secret: string;
}

/** Where a daemon answers, and the bearer that it expects. */
export interface Reach {
  readonly address: DaemonAddress;
  /** The bearer that the daemon expects of its coordinator. */
  readonly secret: string;
}

/** The two texts for the store: `address` may stand in a backup, `secret` may not. */
export function storedReach({ address, secret }: Reach): StoredReach {
  if (address.kind === 'unix' || address.tls === undefined)
    return { address: JSON.stringify(address), secret };
  const { tls, ...open } = address;
  return { address: JSON.stringify({ ...open, tls: true }), secret: JSON.stringify({ secret, tls }) };
}

/** The bearer in `secret`, a text that `storedReach` wrote. @throws Error as `reachFrom`. */
export function bearerOf(secret: string): string {
  return credentialsOf(secret).secret;
}

/**
 * Reads back what `storedReach` wrote.
 * @throws Error when the secret cannot be read, this release does not know the address's kind, or its TLS material is missing.
 *   The message quotes no part of the secret.
 */
export function reachFrom(stored: StoredReach): Reach {
  const { secret, tls } = credentialsOf(stored.secret);
  const address = parsed(stored.address);
  if (address.kind === 'unix' && typeof address.path === 'string')
    return { address: { kind: 'unix', path: address.path }, secret };
  const { kind, host, port } = address;
  if (kind !== 'tcp' || typeof host !== 'string' || typeof port !== 'number')
    throw new Error(`the stored address ${stored.address} is none that this release knows`);
  if (address.tls !== true) return { address: { kind, host, port }, secret };
  if (tls === undefined) throw new Error(`the TLS material for ${host}:${port} is missing`);
  return { address: { kind, host, port, tls }, secret };
}

interface Credentials {
  readonly secret: string;
  readonly tls?: TlsMaterial;
}

/** Reads a stored secret: JSON with TLS material, or the bearer alone, which is base64url and never begins with a brace. */
function credentialsOf(stored: string): Credentials {
  if (!stored.startsWith('{')) return { secret: stored };
  const credentials = objectIn(stored);
  // Not JSON.parse's own words, which quote its text.
  if (typeof credentials?.secret !== 'string') throw new Error('the stored secret cannot be read');
  return credentials as unknown as Credentials;
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  const address = objectIn(text);
  if (address === undefined) throw new Error(`the stored address ${JSON.stringify(text)} cannot be read`);
  return address;
}

function objectIn(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    // No such text was ever stored; the caller says what cannot be read.
    return undefined;
  }
}
