// What tests of sessions that come back share: a fleet whose agent can load, and looks at what is stored.
import { eventually } from './eventually.ts';
import { type CoordinatorOptions, type Server, startCoordinator, stubAgent } from './fleet-process.ts';
import { openStream, type SseStream } from './sse-stream.ts';
import { type DatabaseRow, rowsOf } from './state-database.ts';
import { type Answer, call, clientHeader } from './wire-client.ts';

const QUICK = ['--restart-intensity', '1000', '--restart-first-backoff-ms', '50', '--feed-beat-ms', '200'];

/** A coordinator with one workspace and quick restarts. */
export function startDormant(
  switches: readonly string[] = [],
  flags: readonly string[] = [],
  options: CoordinatorOptions = {},
): Promise<Server> {
  const agent = stubAgent('--load', ...switches);
  return startCoordinator({ workspaces: 1, agent, ...options, flags: [...QUICK, ...flags] });
}

export async function killDaemon(server: Server, index = 0): Promise<void> {
  const { pid } = await server.diagnosis(index);
  if (pid === null) throw new Error('no daemon to kill');
  process.kill(pid, 'SIGKILL');
}

export function sessionRow(server: Server, sessionId: string): DatabaseRow | undefined {
  return rowsOf(server.stateDir, 'SELECT * FROM sessions WHERE session_id = ?', sessionId).at(0);
}

export function becomes(server: Server, sessionId: string, state: string): Promise<unknown> {
  return eventually(`the session to be ${state}`, () => sessionRow(server, sessionId)?.state === state);
}

export function heartbeat(server: Server, sessionId: string, clientId: string): Promise<Answer> {
  return call(server.baseUrl, 'POST', `/session/${sessionId}/heartbeat`, {
    headers: clientHeader(clientId),
    json: {},
  });
}

/** Waits until the session answers again to a client of before. */
export function isBack(server: Server, sessionId: string, clientId: string): Promise<unknown> {
  return eventually(
    'the session to be back',
    async () => (await heartbeat(server, sessionId, clientId)).status === 200,
  );
}

/** From the first event that the bus still has. */
export function streamAll(server: Server, sessionId: string): Promise<SseStream> {
  return openStream(server.baseUrl, sessionId, { headers: { 'last-event-id': '0' } });
}
