// A coordinator's daemon, spoken to on its own socket as only its coordinator does.
import type { Server } from './fleet-process.ts';
import { rowsOf } from './state-database.ts';
import { type Answer, call } from './wire-client.ts';

export interface DaemonSocket {
  /** For `call` and `openStream`. */
  readonly base: string;
  /** Without them it answers nobody. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Of the one daemon that runs. It can be used after the coordinator is gone. */
export function daemonSocket(server: Server): DaemonSocket {
  const rows = rowsOf(server.stateDir, "SELECT address, secret FROM daemons WHERE state = 'ready'");
  const row = rows[0];
  if (row === undefined || rows.length > 1) throw new Error(`${rows.length} daemons run`);
  const { path } = JSON.parse(String(row.address)) as { path: string };
  return { base: `unix:${path}`, headers: { authorization: `Bearer ${row.secret}` } };
}

export function askDaemon(
  { base, headers }: DaemonSocket,
  method: string,
  path: string,
  json: unknown = {},
): Promise<Answer> {
  return call(base, method, path, { headers, json });
}
