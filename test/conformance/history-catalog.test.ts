// The sessions of a workspace as a collection, through real servers: listings of what is live and what is at rest, archive,
// delete, search, figures and live state.
import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from '@jest/globals';
import { DaemonClient } from '@qwen-code/sdk/daemon';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, startCoordinator, startDaemon, stubAgent } from '../support/fleet-process.ts';
import { operationOf, validateAnswer } from '../support/openapi.ts';
import { openStream } from '../support/sse-stream.ts';
import { TARGETS } from '../support/targets.ts';
import { type Answer, call, clientHeader, newSession, sendPrompt } from '../support/wire-client.ts';

interface Listed {
  readonly sessionId: string;
  readonly isArchived: boolean;
  readonly displayName?: string;
}

interface Listing {
  readonly sessions: readonly Listed[];
  readonly nextCursor?: string;
}

afterEach(endFleets);

/** One request whose answer is as described. */
async function ask(
  base: string,
  method: string,
  path: string,
  json?: unknown,
  clientId?: string,
): Promise<Answer> {
  const answer = await call(base, method, path, {
    ...(json === undefined ? {} : { json }),
    headers: clientHeader(clientId),
  });
  const body = answer.text === '' ? undefined : answer.json;
  validateAnswer(operationOf(method, path).name, answer.status, body, answer.headers);
  return answer;
}

async function talk(base: string, sessionId: string, text: string): Promise<void> {
  await sendPrompt(base, sessionId, text);
  await eventually('the end of the turn', async () => {
    const { json } = await call(base, 'GET', `/session/${sessionId}/status`);
    return json.hasActivePrompt === false;
  });
}

async function closed(base: string, text: string): Promise<string> {
  const { sessionId } = await newSession(base);
  await talk(base, sessionId, text);
  expect((await call(base, 'DELETE', `/session/${sessionId}`)).status).toBe(204);
  return sessionId;
}

async function listed(base: string, path: string): Promise<readonly Listed[]> {
  const found: Listed[] = [];
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const page = (await ask(base, 'GET', `${path}&cursor=${cursor}`)).json as unknown as Listing;
    found.push(...page.sessions);
    cursor = page.nextCursor;
  }
  return found;
}

const idsOf = (sessions: readonly Listed[]) => sessions.map(({ sessionId }) => sessionId);

describe.each(TARGETS)('the sessions of %s', (_name, target) => {
  test('are listed whether they are live or at rest, newest first, each once, after a restart too', async () => {
    const first = await target.start();
    const at = `/workspaces/${workspaceIdOf(first.workspace)}`;
    const expected: string[] = [];
    for (const text of ['one', 'two', 'three']) expected.unshift(await closed(first.baseUrl, text));
    const { sessionId } = await newSession(first.baseUrl);
    await talk(first.baseUrl, sessionId, 'four');
    expect(idsOf(await listed(first.baseUrl, `${at}/sessions?size=2`))).toEqual([sessionId, ...expected]);
    expect((await ask(first.baseUrl, 'GET', `${at}/session-info`)).json).toMatchObject({
      active: 4,
      archived: 0,
      total: 4,
      live: 1,
    });
    expect((await call(first.baseUrl, 'DELETE', `/session/${sessionId}`)).status).toBe(204);
    await first.stop();
    const { baseUrl, workspace } = await target.start({ scratch: first.scratch });
    // A coordinator starts no daemon to list: first its own list, then the daemon's.
    expect(idsOf(await listed(baseUrl, `${at}/sessions?size=9`))).toEqual([sessionId, ...expected]);
    await ask(baseUrl, 'GET', `${at}/session-info`);
    const path = `/workspace/${encodeURIComponent(workspace)}/sessions?size=3`;
    expect(idsOf(await listed(baseUrl, path))).toEqual([sessionId, ...expected]);
    const client = new DaemonClient({ baseUrl });
    const page = await client.listWorkspaceSessions(workspace);
    expect(page.map((session) => session.sessionId)).toEqual([sessionId, ...expected]);
  });

  test('can be archived, brought back and deleted', async () => {
    const { baseUrl, workspace } = await target.start();
    const at = `/workspaces/${workspaceIdOf(workspace)}`;
    const [dormantSessions, unknown] = [await closed(baseUrl, 'at rest'), randomUUID()];
    const { sessionId: idle } = await newSession(baseUrl);
    const { sessionId: busy } = await newSession(baseUrl);
    await sendPrompt(baseUrl, busy, 'hang');
    const batch = { sessionIds: [dormantSessions, unknown, idle, busy, dormantSessions] };
    const { json: archived } = await ask(baseUrl, 'POST', `${at}/sessions/archive`, batch);
    expect(archived).toMatchObject({
      archived: [dormantSessions, idle],
      alreadyArchived: [],
      resolvedConflicts: [],
      notFound: [unknown],
      errors: [{ sessionId: busy, code: 'session_busy' }],
    });
    const { json: again } = await ask(baseUrl, 'POST', '/sessions/archive', {
      sessionIds: [dormantSessions],
    });
    expect(again).toMatchObject({ archived: [], alreadyArchived: [dormantSessions] });
    expect(idsOf(await listed(baseUrl, `${at}/sessions?size=9`))).toEqual([busy]);
    const shelf = await listed(baseUrl, `${at}/sessions?archiveState=archived`);
    expect(shelf.map(({ isArchived }) => isArchived)).toEqual([true, true]);
    expect((await ask(baseUrl, 'GET', `/session/${dormantSessions}/transcript`)).json.code).toBe(
      'session_archived',
    );
    expect((await call(baseUrl, 'POST', `/session/${dormantSessions}/load`, { json: {} })).status).toBe(409);
    const { json: back } = await ask(baseUrl, 'POST', '/sessions/unarchive', {
      sessionIds: [dormantSessions, busy, unknown],
    });
    expect(back).toMatchObject({
      unarchived: [dormantSessions],
      alreadyActive: [busy],
      notFound: [unknown],
      errors: [],
    });
    expect((await ask(baseUrl, 'GET', `/session/${dormantSessions}/transcript`)).status).toBe(200);
    const { json: gone } = await ask(baseUrl, 'POST', '/sessions/delete', {
      sessionIds: [dormantSessions, busy, unknown],
    });
    expect(gone).toEqual({ removed: [dormantSessions, busy], notFound: [unknown], errors: [] });
    expect((await ask(baseUrl, 'GET', `/session/${dormantSessions}/transcript`)).status).toBe(404);
    expect((await call(baseUrl, 'GET', `/session/${busy}/status`)).status).toBe(404);
  });

  test('are found by their title and by what was said', async () => {
    const { baseUrl, workspace } = await target.start();
    const older = await closed(baseUrl, 'the Needle in the haystack');
    const newer = await closed(baseUrl, 'nothing here');
    const at = `/workspaces/${workspaceIdOf(workspace)}`;
    const named = await ask(baseUrl, 'PATCH', `${at}/session/${newer}/metadata`, {
      displayName: 'a needle too',
    });
    expect([named.status, named.json.displayName]).toEqual([200, 'a needle too']);
    const client = new DaemonClient({ baseUrl });
    const { results } = await client.searchWorkspaceSessions(workspace, 'NEEDLE');
    expect(results.map(({ session, snippet }) => [session.sessionId, snippet])).toEqual([
      [newer, 'a needle too'],
      [older, 'the Needle in the haystack'],
    ]);
    for (const [query, code] of [
      ['q=', 'invalid_search_query'],
      [`q=${'x'.repeat(201)}`, 'invalid_search_query'],
      ['q=x&maxResults=51', 'invalid_search_max_results'],
    ])
      expect((await ask(baseUrl, 'GET', `${at}/sessions/search?${query}`)).json.code).toBe(code);
    expect((await ask(baseUrl, 'GET', `${at}/sessions/search?q=absent`)).json).toEqual({ results: [] });
  });

  test('are polled by a version that changes with the list, and only then', async () => {
    const { baseUrl, workspace } = await target.start();
    const { sessionId, clientId } = await newSession(baseUrl);
    const path = `/workspaces/${workspaceIdOf(workspace)}/sessions/live-state`;
    const read = async () =>
      (await ask(baseUrl, 'GET', path)).json as { catalogVersion: object; sessions: object[] };
    const before = await read();
    expect(before.sessions).toMatchObject([{ sessionId, clientCount: 1, hasActivePrompt: false }]);
    await talk(baseUrl, sessionId, 'hello');
    expect((await read()).catalogVersion).toEqual(before.catalogVersion);
    const named = { displayName: 'named' };
    await ask(baseUrl, 'PATCH', `/session/${sessionId}/metadata`, named, clientId);
    const afterName = (await read()).catalogVersion;
    expect(afterName).not.toEqual(before.catalogVersion);
    const pr = { number: 7, url: 'https://example.org/pull/7' };
    await talk(baseUrl, sessionId, `notify:qwen/notify/session/pr-binding:${JSON.stringify({ v: 1, pr })}`);
    expect((await read()).catalogVersion).not.toEqual(afterName);
    expect((await ask(baseUrl, 'GET', `/session/${sessionId}/status`)).json.prs).toEqual([pr]);
  });

  test('refuse batches that are malformed or come from nobody', async () => {
    const { baseUrl } = await target.start();
    const tooMany = Array.from({ length: 101 }, () => randomUUID());
    for (const sessionIds of [undefined, 'x', [], [1], [''], tooMany])
      for (const name of ['archive', 'unarchive', 'delete'])
        expect((await ask(baseUrl, 'POST', `/sessions/${name}`, { sessionIds })).json.code).toBe(
          'invalid_request',
        );
    const batch = { sessionIds: [randomUUID()] };
    for (const name of ['archive', 'unarchive', 'delete']) {
      const forged = await ask(baseUrl, 'POST', `/sessions/${name}`, batch, 'two words');
      expect([forged.status, forged.json.code]).toEqual([400, 'invalid_client_id']);
    }
  });

  test('are deleted for a client whose last session has just closed', async () => {
    const { baseUrl } = await target.start();
    const { sessionId, clientId } = await newSession(baseUrl);
    await talk(baseUrl, sessionId, 'hello');
    await ask(baseUrl, 'POST', `/session/${sessionId}/detach`, {}, clientId);
    const { status, json } = await ask(
      baseUrl,
      'POST',
      '/sessions/delete',
      { sessionIds: [sessionId] },
      clientId,
    );
    expect([status, json.removed]).toEqual([200, [sessionId]]);
  });

  test('name who closed them only where it is a client of theirs', async () => {
    const { baseUrl } = await target.start();
    const deletedBy = async ({ sessionId }: { sessionId: string }, clientId: string) => {
      const stream = await openStream(baseUrl, sessionId);
      await ask(baseUrl, 'POST', '/sessions/delete', { sessionIds: [sessionId] }, clientId);
      return (await stream.event('session_closed')).data;
    };
    const session = await newSession(baseUrl);
    expect(await deletedBy(session, session.clientId)).toMatchObject({ closedBy: session.clientId });
    const other = await newSession(baseUrl);
    expect(await deletedBy(other, 'client_of_nobody')).not.toHaveProperty('closedBy');
  });

  test('at rest are renamed by nobody but a client of the workspace', async () => {
    const { baseUrl, workspace } = await target.start();
    const dormantSessions = await closed(baseUrl, 'one');
    const { clientId } = await newSession(baseUrl);
    const path = `/workspaces/${workspaceIdOf(workspace)}/session/${dormantSessions}/metadata`;
    const rename = (displayName: string, by: string) => ask(baseUrl, 'PATCH', path, { displayName }, by);
    const forged = await rename('forged', 'client_of_nobody');
    expect([forged.status, forged.json]).toEqual([
      400,
      expect.objectContaining({ code: 'invalid_client_id', clientId: 'client_of_nobody' }),
    ]);
    expect((await rename('named', clientId)).json.displayName).toBe('named');
  });
});

test('several listings come in one answer, each in its place', async () => {
  const { baseUrl, workspace } = await startDaemon();
  const older = await closed(baseUrl, 'one');
  const { sessionId } = await newSession(baseUrl);
  const { json } = await ask(baseUrl, 'POST', '/sessions/catalog', {
    workspaces: 'all',
    options: { size: 1 },
  });
  const [page] = json.workspaces as (Listing & { cwd: string })[];
  expect([page?.cwd, idsOf(page?.sessions ?? [])]).toEqual([workspace, [sessionId]]);
  const next = { workspaces: [{ workspace, cursor: page?.nextCursor }, { workspace: '/elsewhere' }] };
  const { json: rest } = await ask(baseUrl, 'POST', '/sessions/catalog', next);
  expect(rest.workspaces).toMatchObject([
    { workspace, sessions: [{ sessionId: older }] },
    { workspace: '/elsewhere', error: { code: 'workspace_mismatch', status: 400 } },
  ]);
});

test.each([
  ['that keeps its transcripts', ['--transcripts']],
  ['whose sessions are recorded', []],
])(
  'live sessions without a transcript, of an agent %s, come with the first page, beyond its size',
  async (_name, switches) => {
    const recorded = await startDaemon();
    const dormantSessions = [await closed(recorded.baseUrl, 'one'), await closed(recorded.baseUrl, 'two')];
    await recorded.stop();
    const agent = stubAgent('--load', '--memory', recorded.scratch.dir, ...switches);
    const { baseUrl, workspace } = await startDaemon({ scratch: recorded.scratch, agent });
    const live = [await newSession(baseUrl), await newSession(baseUrl)].map(({ sessionId }) => sessionId);
    const path = `/workspaces/${workspaceIdOf(workspace)}/sessions?size=1`;
    const first = (await ask(baseUrl, 'GET', path)).json as unknown as Listing;
    expect(idsOf(first.sessions)).toEqual([dormantSessions[1], live[1], live[0]]);
    const second = (await ask(baseUrl, 'GET', `${path}&cursor=${first.nextCursor}`))
      .json as unknown as Listing;
    expect([idsOf(second.sessions), second.nextCursor]).toEqual([[dormantSessions[0]], undefined]);
    for (const sessionId of live)
      expect((await call(baseUrl, 'DELETE', `/session/${sessionId}`)).status).toBe(204);
    expect(idsOf(await listed(baseUrl, path))).toEqual([dormantSessions[1], dormantSessions[0]]);
  },
);

test('a poll of the live state starts no daemon', async () => {
  const server = await startCoordinator({ workspaces: 1 });
  const path = `/workspaces/${workspaceIdOf(server.workspace)}/sessions/live-state`;
  const answer = await ask(server.baseUrl, 'GET', path);
  expect([answer.status, answer.json.sessions, answer.headers['cache-control']]).toEqual([
    200,
    [],
    'no-store',
  ]);
  expect((await server.diagnosis(0)).starts).toBe(0);
});

test.each(['archive', 'delete'])('a session that sleeps does so no more after %s', async (what) => {
  const server = await startCoordinator({ workspaces: 1, agent: stubAgent('--load') });
  const { baseUrl } = server;
  const { sessionId, clientId } = await newSession(baseUrl);
  await talk(baseUrl, sessionId, 'hello');
  await call(baseUrl, 'POST', `/session/${sessionId}/detach`, { headers: clientHeader(clientId) });
  const status = async () => (await call(baseUrl, 'GET', `/session/${sessionId}/status`)).json;
  await eventually('its sleep', async () => (await status()).dormant === true);
  const { json } = await ask(baseUrl, 'POST', `/sessions/${what}`, { sessionIds: [sessionId] });
  expect(json.errors).toEqual([]);
  await eventually('the end of the session', async () => (await status()).code === 'session_not_found');
});

test('sessions of several workspaces are listed and deleted together, each by its own daemon', async () => {
  const { baseUrl, workspaces } = await startCoordinator({ workspaces: 3 });
  const [first, second] = [await newSession(baseUrl), await newSession(baseUrl, workspaces[1])];
  const { json } = await ask(baseUrl, 'POST', '/sessions/catalog', {
    workspaces: 'all',
    includeGroups: true,
  });
  const pages = json.workspaces as (Listing & { cwd: string })[];
  expect(pages.map(({ cwd, sessions }) => [cwd, idsOf(sessions)])).toEqual([
    [workspaces[0], [first.sessionId]],
    [workspaces[1], [second.sessionId]],
    [workspaces[2], []],
  ]);
  const some = {
    workspaces: [{ workspace: workspaceIdOf(String(workspaces[1])) }, { workspace: '/elsewhere' }],
  };
  const { json: chosen } = await ask(baseUrl, 'POST', '/sessions/catalog', some);
  expect(chosen.workspaces).toMatchObject([
    { workspace: some.workspaces[0]?.workspace, sessions: [{ sessionId: second.sessionId }] },
    { workspace: '/elsewhere', error: { code: 'workspace_mismatch' } },
  ]);
  expect((await ask(baseUrl, 'POST', '/sessions/catalog', { workspaces: [] })).json.code).toBe(
    'invalid_request',
  );
  const unknown = randomUUID();
  const batch = { sessionIds: [first.sessionId, second.sessionId, unknown] };
  const { json: gone } = await ask(baseUrl, 'POST', '/sessions/delete', batch);
  expect(gone).toEqual({
    removed: [first.sessionId, second.sessionId],
    notFound: [unknown],
    errors: [],
  });
});
