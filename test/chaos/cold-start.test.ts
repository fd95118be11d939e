// A crowd at a closed door: many demands for a workspace that nobody has started.
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually } from '../support/eventually.ts';
import { endFleets, startCoordinator, stubAgent } from '../support/fleet-process.ts';
import { rowsOf } from '../support/state-database.ts';
import { call, newSession } from '../support/wire-client.ts';

afterEach(endFleets);

describe('fifty demands for a cold workspace', () => {
  test('start one process, one agent and one session', async () => {
    const server = await startCoordinator();
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => call(server.baseUrl, 'POST', '/session', { json: {} })),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(new Set(answers.map(({ json }) => json.sessionId)).size).toBe(1);
    expect(answers.filter(({ json }) => json.attached === false)).toHaveLength(1);
    expect(new Set(answers.map(({ json }) => json.clientId)).size).toBe(50);

    expect(rowsOf(server.stateDir, 'SELECT workspace_id FROM daemons')).toHaveLength(1);
    expect(rowsOf(server.stateDir, 'SELECT client_id FROM session_clients')).toHaveLength(50);
    const commands = server.scratch.processes().map(({ command }) => command);
    expect(commands.filter((command) => command.includes('/daemon/main.js'))).toHaveLength(1);
    expect(commands.filter((command) => /^\S+ \S+stub-agent\.mjs/.test(command))).toHaveLength(1);
  });

  test('for as many threads as fit, and for two workspaces at once', async () => {
    const server = await startCoordinator();
    const made = await Promise.all(
      Array.from({ length: 50 }, (_value, index) => newSession(server.baseUrl, server.workspaces[index % 2])),
    );
    expect(new Set(made.map(({ sessionId }) => sessionId)).size).toBe(50);
    expect((await server.diagnostics()).map(({ starts, sessions }) => [starts, sessions])).toEqual([
      [1, 25],
      [1, 25],
    ]);
  });
});

describe('a demand whose client has left', () => {
  test('leaves no session behind, and those who stayed are served', async () => {
    const server = await startCoordinator({ agent: stubAgent('--slow-init', '1200') });
    const abort = new AbortController();
    const leaving = Array.from({ length: 10 }, () =>
      call(server.baseUrl, 'POST', '/session', {
        json: { sessionScope: 'thread' },
        signal: abort.signal,
      }).catch(() => 'left'),
    );
    const staying = Array.from({ length: 3 }, () => newSession(server.baseUrl));
    await eventually('waiting demands', async () => (await server.diagnosis(0)).state !== 'stopped');
    abort.abort();
    expect(await Promise.all(leaving)).toEqual(leaving.map(() => 'left'));
    const kept = (await Promise.all(staying)).map(({ sessionId }) => sessionId).sort();
    await eventually('only the sessions of those who stayed', async () => {
      const path = `/workspace/${encodeURIComponent(server.workspace)}/sessions`;
      const { json } = await call(server.baseUrl, 'GET', path);
      const live = (json.sessions as readonly { readonly sessionId: string }[]).map(
        ({ sessionId }) => sessionId,
      );
      return JSON.stringify(live.sort()) === JSON.stringify(kept);
    });
  });
});
