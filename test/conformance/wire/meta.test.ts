// What a server says of itself (protocol 2.1 and 2.2).
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { workspaceIdOf } from '../../../daemon/contract/canonical-path.ts';
import { eventually } from '../../support/eventually.ts';
import { endFleets, type Server } from '../../support/fleet-process.ts';
import { openStream } from '../../support/sse-stream.ts';
import { TARGETS } from '../../support/targets.ts';
import { call, newSession, sendPrompt } from '../../support/wire-client.ts';

afterAll(endFleets);

describe.each(TARGETS)('%s', (_name, target) => {
  let server: Server;
  const get = async (path: string) => (await call(server.baseUrl, 'GET', path)).json;

  beforeAll(async () => {
    // A short beat: a coordinator knows prompts and streams of a daemon from it.
    server = await target.start({ flags: ['--feed-beat-ms', '50'] });
  });

  test.each([['/health'], ['/health?deep=0'], ['/health?deep=yes'], ['/health?shallow']])(
    'plain health says only that it is there: %s',
    async (path) => {
      expect(await get(path)).toEqual({ status: 'ok' });
    },
  );

  test.each([['/health?deep=1'], ['/health?deep=true'], ['/health?deep='], ['/health?deep']])(
    'deep health has the protocol’s figures: %s',
    async (path) => {
      expect(await get(path)).toEqual({
        status: 'ok',
        workspaceCount: server.workspaces.length,
        sessions: expect.any(Number),
        pendingPermissions: expect.any(Number),
        activePrompts: expect.any(Number),
        activeWork: expect.any(Boolean),
        activeWorkReporting: expect.stringMatching(/^(?:full|partial|none)$/),
        activeWorkStaleMs: expect.any(Number),
        connectedClients: expect.any(Number),
        channelAlive: expect.any(Boolean),
        lastActivityAt: (await get(path)).lastActivityAt,
        idleSinceMs: (await get(path)).idleSinceMs === null ? null : expect.any(Number),
      });
    },
  );

  test('deep health counts over all workspaces', async () => {
    const sessions = await Promise.all(
      server.workspaces.map((workspace) => newSession(server.baseUrl, workspace)),
    );
    const streams = await Promise.all(sessions.map(({ sessionId }) => openStream(server.baseUrl, sessionId)));
    for (const { sessionId } of sessions) await sendPrompt(server.baseUrl, sessionId, 'permission ; hang');
    const count = sessions.length;
    await eventually('the figures of a busy server', async () => {
      const health = await get('/health?deep=1');
      return (
        health.sessions === count &&
        health.pendingPermissions === count &&
        health.activePrompts === count &&
        health.connectedClients === count &&
        health.channelAlive === true &&
        health.activeWork === true &&
        typeof health.lastActivityAt === 'string'
      );
    });
    for (const { sessionId } of sessions) await call(server.baseUrl, 'DELETE', `/session/${sessionId}`);
    await Promise.all(streams.map((stream) => stream.end));
    await eventually('the figures of an idle server', async () => {
      const health = await get('/health?deep=1');
      return health.sessions === 0 && health.activePrompts === 0 && health.activeWork === false;
    });
  });

  test('capabilities name protocol, mode, transports and policy', async () => {
    expect(await get('/capabilities')).toMatchObject({
      v: 1,
      protocolVersions: { current: 'v1', supported: ['v1'] },
      mode: 'http-bridge',
      modelServices: [],
      transports: ['rest'],
      policy: { permission: 'first-responder' },
      workspaceCwd: server.workspace,
      supportedLanguages: expect.any(Array),
    });
  });

  test('capabilities list every workspace with its id, the primary one first', async () => {
    const { workspaces } = await get('/capabilities');
    expect(workspaces).toEqual(
      server.workspaces.map((cwd, index) => ({
        id: workspaceIdOf(cwd),
        cwd,
        primary: index === 0,
        trusted: true,
        workflowsEnabled: false,
        // A coordinator’s workspaces come and go; those of its flags do not.
        ...(target.isFleet ? { removable: false } : {}),
      })),
    );
  });

  test('capabilities name the limits, and those of sessions where there is a cap on all of them', async () => {
    const { limits } = await get('/capabilities');
    expect(limits).toEqual({
      maxRegisteredWorkspaces: 256,
      maxPendingPromptsPerSession: 5,
      sessionRestoreTimeoutMs: 60_000,
      maxSessionsPerWorkspace: 32,
      maxTotalSessions: 800,
    });
  });

  test('the tag multi_workspace_sessions is there only with several workspaces', async () => {
    const { features } = await get('/capabilities');
    expect((features as string[]).includes('multi_workspace_sessions')).toBe(target.isFleet);
  });

  test.each([
    ['session_load', 'POST', '/session/:id/load'],
    ['session_resume', 'POST', '/session/:id/resume'],
    ['session_set_model', 'POST', '/session/:id/model'],
    ['session_approval_mode_control', 'POST', '/session/:id/approval-mode'],
    ['session_metadata', 'PATCH', '/session/:id/metadata'],
    ['session_context', 'GET', '/session/:id/context'],
    ['session_transcript', 'GET', '/session/:id/transcript'],
    ['workspace_file_read', 'GET', '/stat?path=.'],
  ])('the tag %s is listed exactly where its route exists: %s %s', async (tag, method, path) => {
    const { sessionId } = await newSession(server.baseUrl);
    const { features } = await get('/capabilities');
    const answer = await call(server.baseUrl, method, path.replace(':id', sessionId), { json: {} });
    const isRoute = !String(answer.headers['content-type']).startsWith('text/html');
    expect((features as string[]).includes(tag)).toBe(isRoute);
    await call(server.baseUrl, 'DELETE', `/session/${sessionId}`);
  });

  test('GET /workspaces does not exist', async () => {
    expect((await call(server.baseUrl, 'GET', '/workspaces')).status).toBe(404);
  });
});
