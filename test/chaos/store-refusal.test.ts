// The disk or a neighbour refuses writes: what must be recorded gets 507 and leaves nothing behind, what runs goes on, and
// when the cause is over everything is as if it had not been.
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { openSqlite } from '../../coordinator/store/driver.ts';
import { runCommand } from '../support/command-line.ts';
import { eventually } from '../support/eventually.ts';
import { coordinatorProcess, endFleets, type Server, startCoordinator } from '../support/fleet-process.ts';
import { whileImmutable, whyNotImmutable } from '../support/immutable.ts';
import { Scratch } from '../support/scratch.ts';
import { SmallDisk, whyNoSmallDisk } from '../support/small-disk.ts';
import { streamFrom } from '../support/sse-stream.ts';
import { rowsOf } from '../support/state-database.ts';
import { call, clientHeader, createSession, newSession, sendPrompt } from '../support/wire-client.ts';

const closers: (() => void)[] = [];
afterEach(endFleets);
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

const databaseOf = (server: Server) => join(server.stateDir, 'coordinator.db');

const create = (server: Server) =>
  call(server.baseUrl, 'POST', '/session', { json: { cwd: server.workspace, sessionScope: 'thread' } });

async function listed(server: Server): Promise<readonly string[]> {
  const cwd = encodeURIComponent(server.workspace);
  const { json } = await call(server.baseUrl, 'GET', `/workspace/${cwd}/sessions`);
  return (json.sessions as readonly { readonly sessionId: string }[])
    .map(({ sessionId }) => sessionId)
    .sort();
}

interface Diagnosis {
  readonly isFeedUp: boolean;
  readonly lastBeat: { readonly sessions: number } | null;
}

async function diagnosis(server: Server): Promise<Diagnosis> {
  const { json } = await call(server.baseUrl, 'GET', '/admin/diagnostics');
  const [mine] = json.workspaces as readonly Diagnosis[];
  if (mine === undefined) throw new Error('no workspace');
  return mine;
}

/** Sessions that the daemon itself has, as its last beat says. */
const heldByDaemon = async (server: Server) => (await diagnosis(server)).lastBeat?.sessions ?? -1;

/** A turn from prompt to end, on a session that exists. */
async function expectTurn(server: Server, session: { sessionId: string; clientId: string }): Promise<string> {
  const admission = await sendPrompt(server.baseUrl, session.sessionId, 'N:5', session.clientId);
  const stream = await streamFrom(server.baseUrl, session.sessionId, admission);
  expect((await stream.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
  return admission.promptId;
}

const stateOfPrompt = (server: Server, promptId: string) =>
  rowsOf(server.stateDir, 'SELECT state FROM prompts WHERE prompt_id = ?', promptId)[0]?.state;

/** What every refusal must look like while it lasts, and that it is gone without a trace after it. */
async function refusedThenServed(
  server: Server,
  code: RegExp,
  kept: { sessionId: string; clientId: string },
  end: () => void,
): Promise<void> {
  const before = await listed(server);
  for (let attempt = 0; attempt < 3; attempt++) {
    const refused = await create(server);
    expect([refused.status, refused.json.code]).toEqual([507, 'storage_unavailable']);
    expect(refused.json.sqliteCode).toMatch(code);
  }
  const { status, json: answer } = await call(server.baseUrl, 'POST', `/session/${kept.sessionId}/prompt`, {
    headers: clientHeader(kept.clientId),
    json: { prompt: [{ type: 'text', text: 'N:1000:10' }] },
  });
  expect([status, answer.code]).toEqual([507, 'storage_unavailable']);
  const pending = await call(server.baseUrl, 'GET', `/session/${kept.sessionId}/pending-prompts`);
  expect(pending.json).toEqual({ pendingPrompts: [] });
  expect(await listed(server)).toEqual(before);
  const { json } = await call(server.baseUrl, 'GET', '/admin/diagnostics');
  expect(json.warnings).toEqual(
    expect.arrayContaining([expect.stringMatching(/Requests that must be recorded get 507/)]),
  );
  end();
  const fresh = await eventually('a create that succeeds', async () => {
    const answer = await create(server);
    return answer.status === 200 && (answer.json as { sessionId?: string }).sessionId;
  });
  await eventually('its feed', async () => (await diagnosis(server)).isFeedUp);
  const later = await expectTurn(server, kept);
  await eventually('a later prompt in the store', () => stateOfPrompt(server, later) === 'completed');
  expect(rowsOf(server.stateDir, 'SELECT * FROM prompts WHERE settled_at_ms IS NULL')).toEqual([]);
  await eventually('no session but these', async () => (await heldByDaemon(server)) === before.length + 1);
  expect(await listed(server)).toEqual([...before, fresh].sort());
  await eventually('no warning', async () => {
    const now = await call(server.baseUrl, 'GET', '/admin/diagnostics');
    return (now.json.warnings as readonly string[]).length === 0;
  });
  expect(server.exit).toBeUndefined();
}

const QUICK_BEATS = ['--feed-beat-ms', '200'];

test('a lock that another process holds for seconds', async () => {
  const server = await startCoordinator({ workspaces: 1, flags: QUICK_BEATS });
  const busy = await newSession(server.baseUrl, server.workspace);
  const kept = await newSession(server.baseUrl, server.workspace);
  await eventually('its beat', async () => (await heldByDaemon(server)) === 2);
  const admission = await sendPrompt(server.baseUrl, busy.sessionId, 'N:200:10', busy.clientId);
  const stream = await streamFrom(server.baseUrl, busy.sessionId, admission);
  const other = openSqlite(databaseOf(server));
  closers.push(() => other.close());
  other.exec('BEGIN IMMEDIATE');
  await refusedThenServed(server, /^SQLITE_BUSY/, kept, () => other.exec('ROLLBACK'));
  expect((await stream.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
});

test('a lock costs the requests that write nothing hardly any time', async () => {
  const server = await startCoordinator({ workspaces: 1 });
  const { sessionId, clientId } = await newSession(server.baseUrl, server.workspace);
  const other = openSqlite(databaseOf(server));
  closers.push(() => other.close());
  other.exec('BEGIN IMMEDIATE');
  await create(server);
  const took: number[] = [];
  const until = performance.now() + 2000;
  while (performance.now() < until) {
    const began = performance.now();
    await call(server.baseUrl, 'POST', `/session/${sessionId}/heartbeat`, {
      headers: clientHeader(clientId),
    });
    took.push(performance.now() - began);
  }
  took.sort((a, b) => a - b);
  // One write may wait out its 250 ms; those after it give up at once. Half of them: the machine may have pauses of its own.
  expect(took[Math.floor(took.length / 2)]).toBeLessThan(150);
  other.exec('ROLLBACK');
}, 60_000);

const reason = whyNoSmallDisk();
const describeOnSmallDisk = reason === undefined ? describe : describe.skip;

describeOnSmallDisk(`a disk that is full${reason === undefined ? '' : ` (skipped: ${reason})`}`, () => {
  async function onSmallDisk(): Promise<{ readonly server: Server; readonly disk: SmallDisk }> {
    const disk = new SmallDisk(8);
    closers.push(() => disk.remove());
    const scratch = new Scratch(1);
    symlinkSync(disk.path, scratch.stateDir);
    return { server: await startCoordinator({ scratch, flags: QUICK_BEATS }), disk };
  }

  test('while a daemon runs', async () => {
    const { server, disk } = await onSmallDisk();
    await createSession(server.baseUrl, { cwd: server.workspace });
    const kept = await newSession(server.baseUrl, server.workspace);
    await eventually('its beat', async () => (await heldByDaemon(server)) === 2);
    disk.fill();
    await refusedThenServed(server, /^SQLITE_(?:FULL|IOERR)/, kept, () => disk.free());
  });

  test('before the first daemon is started: nothing is started, and the retry after it is served', async () => {
    const { server, disk } = await onSmallDisk();
    disk.fill();
    const refused = await create(server);
    expect([refused.status, refused.json.code]).toEqual([507, 'storage_unavailable']);
    expect(server.scratch.processes().filter(({ command }) => command.includes('--incarnation'))).toEqual([]);
    disk.free();
    await eventually('a create that succeeds', async () => (await create(server)).status === 200);
  });

  test('and stays full over a kill -9 of the coordinator: nothing that was acknowledged is lost', async () => {
    const { server, disk } = await onSmallDisk();
    const first = await createSession(server.baseUrl, { cwd: server.workspace });
    const kept = await newSession(server.baseUrl, server.workspace);
    const admission = await sendPrompt(server.baseUrl, kept.sessionId, 'N:100:10', kept.clientId);
    disk.fill();
    expect((await create(server)).status).toBe(507);
    await server.kill();
    disk.free();
    const next = await startCoordinator({ scratch: server.scratch, flags: QUICK_BEATS });
    await eventually('both sessions', async () => (await listed(next)).length === 2);
    expect(await listed(next)).toEqual([first.sessionId, kept.sessionId].sort());
    const stream = await streamFrom(next.baseUrl, kept.sessionId, admission);
    expect((await stream.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    await eventually('a turn', async () => {
      await expectTurn(next, kept);
      return true;
    });
  });
});

const whyWritable = whyNotImmutable();
const describeReadOnly = whyWritable === undefined ? describe : describe.skip;

describeReadOnly(
  `a database that cannot be written${whyWritable === undefined ? '' : ` (skipped: ${whyWritable})`}`,
  () => {
    test('is refused at the start, in words that name it', async () => {
      const server = await startCoordinator({ workspaces: 1 });
      await newSession(server.baseUrl, server.workspace);
      await server.stop();
      await whileImmutable([databaseOf(server)], async () => {
        const next = coordinatorProcess({ scratch: server.scratch });
        const { code } = await next.ended();
        expect(code).not.toBe(0);
        expect(next.stderr).toMatch(/coordinator\.db|database/);
      });
    });

    test('any more, while a daemon runs', async () => {
      const server = await startCoordinator({ workspaces: 1, flags: QUICK_BEATS });
      await createSession(server.baseUrl, { cwd: server.workspace });
      const kept = await newSession(server.baseUrl, server.workspace);
      await eventually('its beat', async () => (await heldByDaemon(server)) === 2);
      const files = [databaseOf(server), `${databaseOf(server)}-wal`];
      await whileImmutable(files, (end) =>
        refusedThenServed(server, /^SQLITE_(?:IOERR|READONLY|PERM|CANTOPEN)/, kept, end),
      );
    });
  },
);

test('a backup while 200 heartbeats a second arrive has every session and client', async () => {
  const server = await startCoordinator({ workspaces: 1, flags: ['--seen-flush-ms', '50'] });
  const sessions = [];
  for (let n = 0; n < 10; n++) sessions.push(await newSession(server.baseUrl, server.workspace));
  let isOver = false;
  let beats = 0;
  const beating = (async () => {
    while (!isOver) {
      const { sessionId, clientId } = sessions[beats % sessions.length] ?? { sessionId: '', clientId: '' };
      await call(server.baseUrl, 'POST', `/session/${sessionId}/heartbeat`, {
        headers: clientHeader(clientId),
      });
      beats += 1;
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
  })();
  const file = join(server.scratch.dir, 'copy.db');
  await eventually('some heartbeats', () => beats > 50);
  const { code, stdout, stderr } = await runCommand(server.scratch, [
    'backup',
    file,
    '--state-dir',
    server.stateDir,
  ]);
  isOver = true;
  await beating;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain('10 sessions');
  const copy = openSqlite(file, { readonly: true });
  closers.push(() => copy.close());
  const ids = (sql: string) => copy.prepare(sql).pluck().all().sort();
  expect(ids('SELECT session_id FROM sessions')).toEqual(sessions.map(({ sessionId }) => sessionId).sort());
  expect(ids('SELECT client_id FROM session_clients')).toEqual(
    sessions.map(({ clientId }) => clientId).sort(),
  );
  expect(copy.prepare("SELECT count(*) FROM daemons WHERE secret <> ''").pluck().get()).toBe(0);
  const again = await runCommand(server.scratch, ['backup', file, '--state-dir', server.stateDir]);
  expect(again.code).not.toBe(0);
  expect(again.stderr).toContain('never overwrites a file');
});
