// Refusals of docs/openapi.yaml that take a server of their own: its flags or its agent are why it refuses. Every answer is held
// against the description.
import { afterAll, describe, test } from '@jest/globals';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import { endFleets, startCoordinator, stubAgent } from '../support/fleet-process.ts';
import { Examiner, OPERATIONS } from '../support/openapi.ts';
import { TARGETS, type Target } from '../support/targets.ts';
import { clientHeader, newSession, sendPrompt } from '../support/wire-client.ts';

const text = (words: string) => ({ json: { prompt: [{ type: 'text', text: words }] } });
const selected = (optionId: string) => ({ json: { outcome: { outcome: 'selected', optionId } } });

afterAll(endFleets);

describe.each(TARGETS)('the refusals of %s', (_name, target: Target) => {
  const examine = async (options: Parameters<Target['start']>[0]) =>
    new Examiner((await target.start(options)).baseUrl);

  test('without the token', async () => {
    const ask = await examine({ flags: ['--token', 'right'] });
    for (const { method, path, tags } of OPERATIONS) {
      if (path === '/health' || (tags.includes('coordinator') && !target.isFleet)) continue;
      await ask.expect([401, undefined], method.toUpperCase(), path.replaceAll(/\{\w+\}/g, 'x1'));
    }
  });

  test('over the rate', async () => {
    const ask = await examine({ flags: ['--rate-limit', '--rate-limit-mutation', '1'] });
    const { json } = await ask.expect(200, 'POST', '/session');
    const headers = clientHeader(String(json.clientId));
    await ask.expect(204, 'POST', `/session/${json.sessionId}/cancel`, { headers });
    await ask.expect([429, 'rate_limit_exceeded'], 'POST', `/session/${json.sessionId}/cancel`, { headers });
  });

  test('over the cap', async () => {
    const ask = await examine({ agent: stubAgent('--load'), flags: ['--max-sessions', '1'] });
    const more = { json: { sessionScope: 'thread' } };
    const { json } = await ask.expect(200, 'POST', '/session', more);
    await ask.expect([503, 'session_limit_exceeded'], 'POST', '/session', more);
    await sendPrompt(ask.base, String(json.sessionId), 'hello');
    await ask.expect(204, 'DELETE', `/session/${json.sessionId}`);
    await ask.expect(200, 'POST', '/session', more);
    for (const how of ['load', 'resume'])
      await ask.expect([503, 'session_limit_exceeded'], 'POST', `/session/${json.sessionId}/${how}`);
  });

  test('of a vote that the policy does not count', async () => {
    const ask = await examine({ flags: ['--permission-policy', 'designated'] });
    const { sessionId, clientId } = await newSession(ask.base);
    const stream = await ask.stream(sessionId);
    await ask.expect(202, 'POST', `/session/${sessionId}/prompt`, {
      ...text('permission'),
      headers: clientHeader(clientId),
    });
    const { requestId } = (await stream.event('permission_request')).data as { requestId: string };
    for (const path of [`/session/${sessionId}/permission/${requestId}`, `/permission/${requestId}`])
      await ask.expect([403, 'permission_forbidden'], 'POST', path, selected('allow'));
    stream.close();
  });

  test('by an agent that takes no session', async () => {
    const ask = await examine({ agent: stubAgent('--no-new') });
    await ask.expect([500, -32603], 'POST', '/session');
  });

  test('by an agent that brings sessions back too slowly', async () => {
    const flags = ['--session-restore-timeout-ms', '200'];
    const ask = await examine({ agent: stubAgent('--load', '--slow-load', '20000'), flags });
    const { sessionId } = await newSession(ask.base);
    await newSession(ask.base);
    await ask.expect(204, 'DELETE', `/session/${sessionId}`);
    await ask.expect([504, 'restore_timeout'], 'POST', `/session/${sessionId}/load`);
    for (const how of ['load', 'resume'])
      await ask.expect([409, 'restore_in_progress'], 'POST', `/session/${sessionId}/${how}`);
  });

  test('without an agent', async () => {
    const ask = await examine({ agent: '/nowhere/agent' });
    await ask.expect([503, 'acp_channel_unavailable'], 'POST', '/session');
  });

  test('by an agent that never gets ready', async () => {
    const flags = ['--initialize-timeout-ms', '200'];
    const ask = await examine({ agent: stubAgent('--silent-init'), flags });
    await ask.expect([504, 'init_timeout'], 'POST', '/session');
  });
});

describe('a coordinator whose daemons are away', () => {
  test('refuses what needs one, and lists from its store', async () => {
    const server = await startCoordinator({ flags: ['--max-daemons', '1'] });
    const ask = new Examiner(server.baseUrl);
    const [first = '', second = ''] = server.workspaces;
    await ask.expect(200, 'POST', '/session', { json: { cwd: first } });
    await ask.expect([503, 'daemon_limit_exceeded'], 'POST', '/session', { json: { cwd: second } });
    await ask.expect(200, 'GET', `/workspaces/${workspaceIdOf(second)}/sessions`);
  });
});
