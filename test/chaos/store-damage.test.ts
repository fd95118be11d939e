// The database is damaged, lost, or an old one is put back: the next start takes the running daemons over all the same.
import { closeSync, copyFileSync, openSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { openSqlite } from '../../coordinator/store/driver.ts';
import { runCommand } from '../support/command-line.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server, startCoordinator } from '../support/fleet-process.ts';
import { streamFrom } from '../support/sse-stream.ts';
import { rowsOf } from '../support/state-database.ts';
import { call, clientHeader, newSession, sendPrompt } from '../support/wire-client.ts';

const closers: (() => void)[] = [];
afterEach(endFleets);
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const databaseOf = (server: Server) => join(server.stateDir, 'coordinator.db');

function overwrite(path: string, offset: number, bytes: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, Buffer.alloc(bytes, 0xa5), 0, bytes, offset);
  closeSync(fd);
}

/** Puts what is in the log into the main file, where damage of that is seen. */
function settle(server: Server): void {
  const db = openSqlite(databaseOf(server));
  db.pragma('wal_checkpoint(TRUNCATE)');
  db.close();
}

async function warningsOf(server: Server): Promise<readonly string[]> {
  const { json } = await call(server.baseUrl, 'GET', '/admin/diagnostics');
  return json.warnings as readonly string[];
}

async function fleetWithSessions() {
  const server = await startCoordinator();
  const sessions = await Promise.all(server.workspaces.map((cwd) => newSession(server.baseUrl, cwd)));
  return { server, sessions, before: await server.diagnostics() };
}

const pidsOf = (workspaces: Awaited<ReturnType<Server['diagnostics']>>) =>
  workspaces.map(({ pid, agent }) => [pid, agent?.pid]).sort();

/** Every session answers under its id and its client id, and takes a prompt. */
async function expectServing(server: Server, sessions: Awaited<ReturnType<typeof newSession>>[]) {
  for (const { sessionId, clientId } of sessions) {
    await eventually(`session ${sessionId}`, async () => {
      const answer = await call(server.baseUrl, 'GET', `/session/${sessionId}/status`);
      return answer.status === 200;
    });
    const beat = await call(server.baseUrl, 'POST', `/session/${sessionId}/heartbeat`, {
      headers: clientHeader(clientId),
    });
    expect(beat.status).toBe(200);
    const admission = await sendPrompt(server.baseUrl, sessionId, 'N:3', clientId);
    const stream = await streamFrom(server.baseUrl, sessionId, admission);
    expect((await stream.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
  }
}

describe('a database that was damaged while no coordinator ran', () => {
  test.each([
    ['header', (path: string) => overwrite(path, 0, 100)],
    ['middle', (path: string) => overwrite(path, 4096, statSync(path).size - 4096)],
  ])(
    '(%s) is set aside; the daemons and their sessions are taken over by the new one',
    async (_where, damage) => {
      const { server, sessions, before } = await fleetWithSessions();
      await server.kill();
      settle(server);
      damage(databaseOf(server));
      const next = await startCoordinator({ scratch: server.scratch });
      await expectServing(next, sessions);
      expect(pidsOf(await next.diagnostics())).toEqual(pidsOf(before));
      expect((await next.diagnostics()).map(({ sessions: count }) => count)).toEqual([1, 1]);
      expect(next.stderr).toContain('was damaged');
      expect(await warningsOf(next)).toEqual([
        expect.stringMatching(/damaged.*coordinator\.db\.corrupt-\d{8}-\d{6}/),
      ]);
      const aside = readdirSync(server.stateDir).filter((name) => name.includes('.corrupt-'));
      expect(aside.length).toBeGreaterThan(0);
      const told = await runCommand(next.scratch, ['why', next.workspace, '--state-dir', next.stateDir]);
      expect(told.stdout).toMatch(/is ready: .*\n.*found running but missing from the database.*taken over/s);
      await next.kill();
      const third = await startCoordinator({ scratch: server.scratch });
      await expectServing(third, sessions);
      expect(await warningsOf(third)).toEqual([]);
    },
  );
});

test('a database that is gone is the same, without an old one to keep', async () => {
  const { server, sessions, before } = await fleetWithSessions();
  await server.kill();
  for (const end of ['', '-wal', '-shm']) rmSync(databaseOf(server) + end, { force: true });
  const next = await startCoordinator({ scratch: server.scratch });
  await expectServing(next, sessions);
  expect(pidsOf(await next.diagnostics())).toEqual(pidsOf(before));
});

test('a backup that is put back under running daemons finds them, and the sessions made since', async () => {
  const { server, sessions, before } = await fleetWithSessions();
  const copy = join(server.scratch.dir, 'copy.db');
  const made = await runCommand(server.scratch, ['backup', copy, '--state-dir', server.stateDir]);
  expect(made).toMatchObject({ code: 0, stdout: expect.stringContaining('2 sessions') });
  const later = await newSession(server.baseUrl, server.workspaces[1]);
  await server.kill();
  for (const end of ['', '-wal', '-shm']) rmSync(databaseOf(server) + end, { force: true });
  copyFileSync(copy, databaseOf(server));
  const next = await startCoordinator({ scratch: server.scratch });
  await expectServing(next, [...sessions, later]);
  expect(pidsOf(await next.diagnostics())).toEqual(pidsOf(before));
});

test('damage that shows while it runs is told with what to do; sessions go on, and the next start rebuilds', async () => {
  const { server, sessions } = await fleetWithSessions();
  const [mine] = sessions;
  if (mine === undefined) throw new Error('no session');
  const path = databaseOf(server);
  // Another connection's commit makes the coordinator read its pages again.
  const other = openSqlite(path);
  closers.push(() => other.close());
  other.exec('CREATE TABLE noise (a)');
  other.pragma('wal_checkpoint(TRUNCATE)');
  overwrite(path, 4096, statSync(path).size - 4096);
  const refused = await call(server.baseUrl, 'POST', '/session', {
    json: { cwd: server.workspace, sessionScope: 'thread' },
  });
  expect([refused.status, refused.json.code]).toEqual([507, 'storage_unavailable']);
  expect(await warningsOf(server)).toEqual([expect.stringMatching(/damaged.*SIGKILL/)]);
  const admission = await sendPrompt(server.baseUrl, mine.sessionId, 'N:3', mine.clientId);
  const stream = await streamFrom(server.baseUrl, mine.sessionId, admission);
  expect((await stream.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
  expect(server.exit).toBeUndefined();
  await server.kill();
  const next = await startCoordinator({ scratch: server.scratch });
  await expectServing(next, sessions);
  expect(rowsOf(next.stateDir, "SELECT count(*) AS n FROM sessions WHERE state = 'live'")).toEqual([
    { n: 2 },
  ]);
});
