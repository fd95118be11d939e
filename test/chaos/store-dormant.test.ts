// A session sleeps, its daemon is stopped, and the database takes no writes: whoever wants to wake it is told so, and the
// coordinator is there to wake it when the database takes writes again.
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { openSqlite } from '../../coordinator/store/driver.ts';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import { sessionRow, startDormant } from '../support/dormant-sessions.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server } from '../support/fleet-process.ts';
import { rowsOf } from '../support/state-database.ts';
import { call, clientHeader, newSession } from '../support/wire-client.ts';

const closers: (() => void)[] = [];
// Before the fleet's end: a coordinator that cannot write takes longer to stop.
afterEach(() => {
  for (const close of closers.splice(0)) close();
});
afterEach(endFleets);

/** A session whose daemon was stopped by an operator, who lets it be started again. */
async function asleep(server: Server) {
  const session = await newSession(server.baseUrl);
  for (const operation of ['drain', 'undrain']) {
    const path = `/admin/workspaces/${workspaceIdOf(server.workspace)}/${operation}`;
    expect((await call(server.baseUrl, 'POST', path, { json: {} })).status).toBe(200);
  }
  expect(sessionRow(server, session.sessionId)).toMatchObject({ state: 'dormant' });
  expect(await server.diagnosis(0)).toMatchObject({ state: 'stopped' });
  return session;
}

/** Keeps every other connection from writing until it is called. */
function lock(server: Server): () => void {
  const other = openSqlite(join(server.stateDir, 'coordinator.db'));
  other.exec('BEGIN IMMEDIATE');
  const end = () => other.close();
  closers.push(end);
  return end;
}

describe('a database that refuses writes', () => {
  test.each([
    ['a prompt', 'prompt', { prompt: [{ type: 'text', text: 'good morning' }] }],
    ['a load', 'load', {}],
  ])('answers %s to a sleeping session with 507; afterwards it wakes', async (_what, action, json) => {
    const server = await startDormant();
    const { sessionId, clientId } = await asleep(server);
    const ask = () =>
      call(server.baseUrl, 'POST', `/session/${sessionId}/${action}`, {
        json,
        headers: clientHeader(clientId),
      });
    const unlock = lock(server);
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const refused = await ask();
      expect([refused.status, refused.json.code]).toEqual([507, 'storage_unavailable']);
    }
    const status = await call(server.baseUrl, 'GET', `/session/${sessionId}/status`);
    expect(status).toMatchObject({ status: 200, json: { sessionId, dormant: true } });
    expect(server.scratch.processes().map(({ pid }) => pid)).toEqual([server.pid]);
    unlock();
    const answer = await eventually('an answer that is no 507', async () => {
      const next = await ask();
      return next.status !== 507 && next;
    });
    expect([answer.status, rowsOf(server.stateDir, 'SELECT state FROM sessions')]).toEqual([
      action === 'load' ? 200 : 202,
      [{ state: 'live' }],
    ]);
    expect(await server.diagnosis(0)).toMatchObject({ state: 'ready', starts: 2 });
    expect(server.exit).toBeUndefined();
  });
});
