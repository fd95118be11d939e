// Every operation of docs/openapi.yaml, asked of real servers in its success and its main refusals; every answer is held
// against the description.
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import type { EventEnvelope } from '../../daemon/contract/wire.ts';
import { endFleets, type Server, startCoordinator, stubAgent } from '../support/fleet-process.ts';
import { OPERATIONS, operationOf, successOf, validateAnswer, validateEvent } from '../support/openapi.ts';
import { type Frame, openStream, type SseStream } from '../support/sse-stream.ts';
import { TARGETS, type Target } from '../support/targets.ts';
import { type Answer, type CallOptions, call, clientHeader, newSession } from '../support/wire-client.ts';

const STRANGER = clientHeader('client_of_nobody');
const text = (words: string) => ({ json: { prompt: [{ type: 'text', text: words }] } });
const selected = (optionId: string) => ({ json: { outcome: { outcome: 'selected', optionId } } });

/** Asks one server, and keeps which operations it has seen with which status. */
class Examiner {
  readonly base: string;
  readonly seen = new Set<string>();

  constructor(base: string) {
    this.base = base;
  }

  /** One request whose answer has to be as described, with the expected status and code. */
  async expect(
    status: number | readonly [number, unknown],
    method: string,
    path: string,
    options: CallOptions = {},
  ): Promise<Answer> {
    const answer = await call(this.base, method, path, options);
    const [wantedStatus, wantedCode] = typeof status === 'number' ? [status, answer.json.code] : status;
    expect([method, path, answer.status, answer.json.code]).toEqual([method, path, wantedStatus, wantedCode]);
    const { name } = operationOf(method, path);
    const isJson = answer.headers['content-type']?.startsWith('application/json') === true;
    const body: unknown = isJson ? JSON.parse(answer.text) : answer.text;
    validateAnswer(name, answer.status, body, answer.headers);
    this.seen.add(`${name} ${answer.status}`);
    return answer;
  }

  /** An event stream whose head is as described; its events are validated by `finish`. */
  async stream(sessionId: string, options: Parameters<typeof openStream>[2] = {}): Promise<SseStream> {
    const stream = await openStream(this.base, sessionId, options);
    validateAnswer('get /session/{id}/events', 200, '', stream.headers);
    this.seen.add('get /session/{id}/events 200');
    return stream;
  }

  /** Waits for the stream's end and validates what came. */
  async finish(stream: SseStream): Promise<void> {
    await stream.end;
    expect(stream.envelopes.length).toBeGreaterThan(0);
    for (const envelope of stream.envelopes) validateEvent(envelope);
  }
}

/** What every operation of sessions refuses alike. */
const SESSION_OPERATIONS = OPERATIONS.filter(({ path }) => path.startsWith('/session/{id}'));

afterAll(endFleets);

describe.each(TARGETS)('the answers of %s', (_name, target) => {
  let server: Server;
  let ask: Examiner;
  const fresh = (cwd?: string) => newSession(server.baseUrl, cwd);

  beforeAll(async () => {
    const flags = ['--max-pending-prompts-per-session', '2', '--max-subscribers-per-session', '1'];
    server = await target.start({ flags });
    ask = new Examiner(server.baseUrl);
  });

  test('about the server', async () => {
    await ask.expect(200, 'GET', '/health');
    await ask.expect(200, 'GET', '/health?deep=1');
    await ask.expect(200, 'GET', '/capabilities');
    await ask.expect(200, 'GET', '/openapi.json');
  });

  test('to creates and attaches', async () => {
    const { json: first } = await ask.expect(200, 'POST', '/session', {
      json: { sourceType: 'ci', sourceId: '7' },
    });
    await ask.expect(200, 'POST', '/session', { headers: clientHeader(String(first.clientId)) });
    await ask.expect(200, 'POST', '/session', { json: { sessionScope: 'thread', modelServiceId: 'm2' } });
    await ask.expect(200, 'GET', '/health?deep=1');
    const taken = { json: { sessionId: first.sessionId } };
    await ask.expect([409, 'session_id_conflict'], 'POST', '/session', taken);
    const refusals: readonly (readonly [number, unknown, unknown])[] = [
      [400, undefined, { cwd: 'relative' }],
      [400, 'workspace_mismatch', { cwd: '/' }],
      [400, 'invalid_session_scope', { sessionScope: 'all' }],
      [400, 'invalid_session_id', { sessionId: 'x' }],
      [400, 'invalid_approval_mode', { approvalMode: 'x' }],
      [400, 'invalid_session_source', { sourceType: 'X' }],
      [400, 'branch_and_worktree_conflict', { branch: { name: 'b' }, worktree: {} }],
      [501, 'not_implemented', { worktree: {} }],
    ];
    for (const [status, code, json] of refusals)
      await ask.expect([status, code], 'POST', '/session', { json });
    await ask.expect([400, 'invalid_client_id'], 'POST', '/session', { headers: clientHeader('a b') });
  });

  test('to malformed requests', async () => {
    const headers = { 'content-type': 'application/json' };
    await ask.expect([400, undefined], 'POST', '/session', { headers, body: '{' });
    await ask.expect([400, 'invalid_request'], 'GET', '/session/%zz/status');
    await ask.expect(413, 'POST', '/session', { headers, body: Buffer.alloc(10 * 1024 * 1024 + 1, ' ') });
    await ask.expect(403, 'GET', '/capabilities', { headers: { origin: 'https://example.org' } });
  });

  test('about a session', async () => {
    const { sessionId, clientId } = await fresh();
    const headers = clientHeader(clientId);
    await ask.expect(200, 'GET', `/session/${sessionId}/status`);
    await ask.expect(200, 'POST', `/session/${sessionId}/heartbeat`);
    await ask.expect(200, 'POST', `/session/${sessionId}/heartbeat`, { headers });
    await ask.expect(200, 'POST', `/session/${sessionId}/model`, { json: { modelId: 'm2' } });
    await ask.expect([400, undefined], 'POST', `/session/${sessionId}/model`, { json: {} });
    const pr = { number: 7, url: 'https://example.org/7', state: 'open' };
    await ask.expect(200, 'PATCH', `/session/${sessionId}/metadata`, { json: { displayName: 'one', pr } });
    await ask.expect(200, 'PATCH', `/session/${sessionId}/metadata`, { json: {} });
    const bad = { json: { displayName: ' ' } };
    await ask.expect([400, 'invalid_metadata'], 'PATCH', `/session/${sessionId}/metadata`, bad);
    // A coordinator looks for the session's owner first.
    const noUuid = target.isFleet
      ? ([404, 'session_not_found'] as const)
      : ([400, 'invalid_session_id'] as const);
    await ask.expect(noUuid, 'PATCH', '/session/x/metadata', { json: {} });
    await ask.expect(200, 'GET', `/session/${sessionId}/status`);
    await ask.expect(204, 'POST', `/session/${sessionId}/detach`, { headers });
    const { sessionId: other } = await fresh();
    await ask.expect(204, 'DELETE', `/session/${other}`);
  });

  test('to turns', async () => {
    const { sessionId, clientId } = await fresh();
    const at = `/session/${sessionId}`;
    const headers = clientHeader(clientId);
    const stream = await ask.stream(sessionId, { query: '?snapshot=1', headers: { 'last-event-id': '0' } });
    await ask.expect([429, 'subscriber_limit_exceeded'], 'GET', `${at}/events`);
    await ask.expect([400, 'invalid_max_queued'], 'GET', `${at}/events?maxQueued=1`);
    const { json: idle } = await ask.expect(200, 'POST', `${at}/mid-turn-message`, {
      json: { message: 'a' },
    });
    expect(idle.accepted).toBe(false);
    const { json: running } = await ask.expect(202, 'POST', `${at}/prompt`, { ...text('hang'), headers });
    const { json: waiting } = await ask.expect(202, 'POST', `${at}/prompt`, text('never'));
    await ask.expect([503, 'prompt_queue_full'], 'POST', `${at}/prompt`, text('too many'));
    await ask.expect([400, undefined], 'POST', `${at}/prompt`, { json: { prompt: [] } });
    const deadline = { json: { ...text('x').json, deadlineMs: 0 } };
    await ask.expect([400, 'invalid_deadline_ms'], 'POST', `${at}/prompt`, deadline);
    await ask.expect(200, 'GET', `${at}/pending-prompts`);
    await ask.expect(200, 'GET', `${at}/status`);
    await ask.expect(200, 'POST', `${at}/mid-turn-message`, { json: { message: 'a' } });
    await ask.expect([400, undefined], 'POST', `${at}/mid-turn-message`, { json: { message: ' ' } });
    await ask.expect(200, 'DELETE', `${at}/pending-prompts/${waiting.promptId}`);
    const { json: gone } = await ask.expect(200, 'DELETE', `${at}/pending-prompts/${waiting.promptId}`);
    expect(gone.removed).toBe(false);
    await ask.expect(204, 'POST', `${at}/cancel`);
    await stream.settled(String(running.promptId));
    const { json: failing } = await ask.expect(202, 'POST', `${at}/prompt`, text('error:-32000:out of luck'));
    await stream.settled(String(failing.promptId));
    const { json: told } = await ask.expect(200, 'GET', `${at}/status`);
    expect(told.turnError).toMatchObject({ message: 'out of luck' });
    await ask.expect(204, 'DELETE', at);
    await ask.finish(stream);
  });

  test('to votes', async () => {
    const { sessionId } = await fresh();
    const at = `/session/${sessionId}`;
    const stream = await ask.stream(sessionId);
    const asked = async () => {
      const { json } = await ask.expect(202, 'POST', `${at}/prompt`, text('permission'));
      const isIts = ({ envelope }: Frame) =>
        envelope?.type === 'permission_request' && envelope.promptId === json.promptId;
      const question = (await stream.frame('the question', isIts)).envelope as EventEnvelope;
      return (question.data as { requestId: string }).requestId;
    };
    const first = await asked();
    await ask.expect(200, 'GET', `${at}/status`);
    await ask.expect([400, undefined], 'POST', `${at}/permission/${first}`, { json: {} });
    await ask.expect([400, 'invalid_option_id'], 'POST', `${at}/permission/${first}`, selected('other'));
    const forged = { ...selected('allow'), headers: STRANGER };
    await ask.expect([400, 'invalid_client_id'], 'POST', `${at}/permission/${first}`, forged);
    await ask.expect(200, 'POST', `${at}/permission/${first}`, selected('allow'));
    await ask.expect([404, undefined], 'POST', `${at}/permission/${first}`, selected('allow'));
    await ask.expect([404, undefined], 'POST', `/permission/${randomUUID()}`, selected('allow'));
    const second = await asked();
    await ask.expect([400, 'invalid_option_id'], 'POST', `/permission/${second}`, selected('other'));
    await ask.expect(200, 'POST', `/permission/${second}`, { json: { outcome: { outcome: 'cancelled' } } });
    await ask.expect(204, 'DELETE', at);
    await ask.finish(stream);
  });

  test('to listings', async () => {
    await fresh();
    await fresh();
    const id = workspaceIdOf(server.workspace);
    for (const base of ['/workspace', '/workspaces'])
      for (const selector of [id, encodeURIComponent(server.workspace)]) {
        const { json } = await ask.expect(200, 'GET', `${base}/${selector}/sessions?size=1`);
        await ask.expect(200, 'GET', `${base}/${selector}/sessions?cursor=${json.nextCursor}`);
      }
    const refusals: readonly (readonly [string, string])[] = [
      ['cursor=x', 'invalid_cursor'],
      ['archiveState=x', 'invalid_archive_state'],
      ['view=x', 'invalid_session_view'],
      ['group=x', 'invalid_session_group_filter'],
      ['parentSessionId=x', 'invalid_parent_session_id'],
      ['sourceType=', 'invalid_session_source'],
    ];
    for (const [query, code] of refusals)
      await ask.expect([400, code], 'GET', `/workspaces/${id}/sessions?${query}`);
    await ask.expect([400, undefined], 'GET', '/workspace/relative/sessions');
    await ask.expect([400, 'workspace_mismatch'], 'GET', '/workspaces/relative/sessions');
    await ask.expect([400, 'workspace_mismatch'], 'GET', '/workspace/%2F/sessions');
  });

  test('to the past of sessions', async () => {
    const { sessionId } = await fresh();
    const stream = await ask.stream(sessionId);
    const { json } = await ask.expect(202, 'POST', `/session/${sessionId}/prompt`, text('hello'));
    await stream.settled(String(json.promptId));
    const ws = `/workspaces/${workspaceIdOf(server.workspace)}`;
    const batch = { json: { sessionIds: [sessionId] } };
    for (const at of ['', ws])
      for (const read of ['transcript', 'turn-index', 'export', 'export?format=json'])
        await ask.expect(200, 'GET', `${at}/session/${sessionId}/${read}`);
    for (const at of [ws.replace('workspaces', 'workspace'), ws])
      for (const read of ['session-info', 'sessions/search?q=hello'])
        await ask.expect(200, 'GET', `${at}/${read}`);
    await ask.expect(200, 'GET', `${ws}/sessions/live-state`);
    await ask.expect(200, 'PATCH', `${ws}/session/${sessionId}/metadata`, { json: { displayName: 'x' } });
    for (const at of ['', ws])
      for (const name of ['archive', 'unarchive', 'delete'])
        await ask.expect(200, 'POST', `${at}/sessions/${name}`, batch);
    await ask.expect(200, 'POST', '/sessions/catalog', { json: { workspaces: 'all' } });
  });

  test.each(SESSION_OPERATIONS.map(({ name, method, path }) => [name, method.toUpperCase(), path]))(
    'to %s for a session or a client that it does not know',
    async (name, method, path) => {
      const filled = (id: string) => path.replace('{id}', id).replaceAll(/\{\w+\}/g, 'x');
      const json = {
        prompt: [{ type: 'text', text: 'x' }],
        message: 'x',
        modelId: 'm1',
        ...selected('x').json,
      };
      const options = method === 'GET' ? {} : { json };
      const unknown = name.endsWith('/metadata') ? randomUUID() : 'no-such-session';
      await ask.expect([404, 'session_not_found'], method, filled(unknown), options);
      const isIndifferent = method === 'GET' || /detach|permission/.test(name);
      const { sessionId } = await fresh();
      if (!isIndifferent)
        await ask.expect([400, 'invalid_client_id'], method, filled(sessionId), {
          ...options,
          headers: STRANGER,
        });
      await ask.expect(204, 'DELETE', `/session/${sessionId}`);
    },
  );

  if (target.isFleet) describeFleet();

  function describeFleet(): void {
    test('to the registry of workspaces', async () => {
      const cwd = `${server.scratch.dir}/ws-new`;
      mkdirSync(cwd);
      const { json: added } = await ask.expect(201, 'POST', '/workspaces', {
        json: { cwd, displayName: 'new' },
      });
      await ask.expect([409, 'workspace_exists'], 'POST', '/workspaces', { json: { cwd } });
      await ask.expect([409, 'workspace_nested'], 'POST', '/workspaces', {
        json: { cwd: server.scratch.dir },
      });
      await ask.expect([400, 'invalid_path'], 'POST', '/workspaces', { json: { cwd: 'relative' } });
      const blank = { json: { cwd, displayName: '' } };
      await ask.expect([400, 'invalid_display_name'], 'POST', '/workspaces', blank);
      await ask.expect([400, 'invalid_persist_flag'], 'POST', '/workspaces', { json: { cwd, persist: 1 } });
      await ask.expect([400, 'invalid_workspace_request'], 'POST', '/workspaces', { json: { kind: 'x' } });
      await ask.expect([501, 'not_implemented'], 'POST', '/workspaces', { json: { kind: 'scratch' } });
      await ask.expect(200, 'GET', '/capabilities');
      await ask.expect(200, 'GET', `/workspaces/${added.id}/sessions`);
      await fresh(cwd);
      await ask.expect([400, 'invalid_force_flag'], 'DELETE', `/workspaces/${added.id}`, {
        json: { force: 1 },
      });
      await ask.expect([409, 'workspace_busy'], 'DELETE', `/workspaces/${added.id}`);
      await ask.expect(200, 'DELETE', `/workspaces/${added.id}`, { json: { force: true } });
      await ask.expect([400, 'workspace_mismatch'], 'DELETE', `/workspaces/${added.id}`);
      const [primary = '', other = ''] = server.workspaces.map(workspaceIdOf);
      const primaryCode = 'primary_workspace_removal_forbidden';
      await ask.expect([409, primaryCode], 'DELETE', `/workspaces/${primary}`);
      await ask.expect([409, 'static_workspace_removal_forbidden'], 'DELETE', `/workspaces/${other}`);
    });

    test('below the prefix of a workspace', async () => {
      const [, other = ''] = server.workspaces;
      const at = `/w/${workspaceIdOf(other)}`;
      await ask.expect(200, 'GET', `${at}/health`);
      await ask.expect(200, 'GET', `${at}/openapi.json`);
      const { json } = await ask.expect(200, 'POST', `${at}/session`, { json: {} });
      expect(json.workspaceCwd).toBe(other);
      await ask.expect(200, 'GET', `${at}/capabilities`);
      await ask.expect(200, 'GET', `${at}/session/${json.sessionId}/status`);
      const elsewhere = `/w/${workspaceIdOf(server.workspace)}/session/${json.sessionId}/status`;
      await ask.expect([404, 'session_not_found'], 'GET', elsewhere);
      await ask.expect([400, 'workspace_mismatch'], 'GET', `/w/none/session/${json.sessionId}/status`);
    });

    test('to operators', async () => {
      await ask.expect(200, 'GET', '/admin/status');
      await ask.expect(200, 'GET', '/admin/diagnostics');
    });
  }

  test('have covered every operation', async () => {
    if (target.isFleet) {
      await ask.expect(202, 'POST', '/admin/stop');
      expect((await server.ended()).code).toBe(0);
    }
    const asked = OPERATIONS.filter(({ tags }) => target.isFleet || !tags.includes('coordinator'));
    const wanted = asked.flatMap((operation) =>
      successOf(operation).map((status) => `${operation.name} ${status}`),
    );
    expect(wanted.filter((success) => !ask.seen.has(success))).toEqual([]);
  });
});

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
    const ask = await examine({ flags: ['--max-sessions', '1'] });
    await ask.expect(200, 'POST', '/session', { json: { sessionScope: 'thread' } });
    const more = { json: { sessionScope: 'thread' } };
    await ask.expect([503, 'session_limit_exceeded'], 'POST', '/session', more);
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
