// The operations of docs/openapi.yaml about the server, sessions, turns, events, votes and workspaces, asked of real servers in
// their success and their main refusals; every answer is held against the description. The rest is in openapi-agent,
// openapi-history, openapi-operators and openapi-refusals.
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import type { EventEnvelope } from '../../daemon/contract/wire.ts';
import { endFleets, type Server, stubAgent } from '../support/fleet-process.ts';
import { missing } from '../support/machine.ts';
import { Examiner, OPERATIONS } from '../support/openapi.ts';
import { Scratch } from '../support/scratch.ts';
import type { Frame } from '../support/sse-stream.ts';
import { TARGETS } from '../support/targets.ts';
import { clientHeader, newSession } from '../support/wire-client.ts';

const STRANGER = clientHeader('client_of_nobody');
const text = (words: string) => ({ json: { prompt: [{ type: 'text', text: words }] } });
const selected = (optionId: string) => ({ json: { outcome: { outcome: 'selected', optionId } } });

/** What every operation of sessions refuses alike. */
const SESSION_OPERATIONS = OPERATIONS.filter(({ path }) => path.startsWith('/session/{id}'));

afterAll(endFleets);

describe.each(TARGETS)('the answers of %s', (_name, target) => {
  let server: Server;
  let ask: Examiner;
  const fresh = (cwd?: string) => newSession(server.baseUrl, cwd);

  beforeAll(async () => {
    const flags = ['--max-pending-prompts-per-session', '2', '--max-subscribers-per-session', '1'];
    const scratch = new Scratch(2);
    const agent = stubAgent('--ext', '--load', '--memory', scratch.dir);
    server = await target.start({ agent, flags, scratch });
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
      [400, 'invalid_branch', { branch: 'b' }],
      [400, 'branch_invalid_name', { branch: { name: 'a b' } }],
      [409, 'branch_session_conflict', { branch: { name: 'b' } }],
      [400, 'invalid_worktree', { worktree: 1 }],
      [400, 'worktree_invalid_slug', { worktree: { slug: '..' } }],
      ...(missing('git') === undefined ? [[400, 'worktree_not_git_repo', { worktree: {} }] as const] : []),
    ];
    for (const [status, code, json] of refusals)
      await ask.expect([status, code], 'POST', '/session', { json });
    await ask.expect([400, 'invalid_client_id'], 'POST', '/session', { headers: clientHeader('a b') });
  });

  test('to loads and resumes', async () => {
    const { sessionId, clientId } = await fresh();
    const at = `/session/${sessionId}`;
    const stream = await ask.stream(sessionId);
    const { json } = await ask.expect(202, 'POST', `${at}/prompt`, text('hello'));
    await stream.settled(String(json.promptId));
    for (const how of ['load', 'resume'])
      await ask.expect(200, 'POST', `${at}/${how}`, { headers: clientHeader(clientId) });
    await ask.expect(202, 'POST', `${at}/prompt`, text('hang'));
    const { json: live } = await ask.expect(200, 'POST', `${at}/load`);
    expect(live).toMatchObject({ attached: true, hasActivePrompt: true, state: {} });
    expect(live.liveJournal).not.toEqual([]);
    await ask.expect(204, 'DELETE', at);
    const options = { json: { cwd: server.workspace, historyPageSize: 1, liveReplayMode: 'summary' } };
    const { json: loaded } = await ask.expect(200, 'POST', `${at}/load`, options);
    expect(loaded).toMatchObject({ sessionId, attached: false, historyHasMore: true });
    await ask.expect(204, 'DELETE', at);
    const { json: resumed } = await ask.expect(200, 'POST', `${at}/resume`, { json: { sourceType: 'ci' } });
    expect(resumed).not.toHaveProperty('compactedReplay');
    const refusals: readonly (readonly [number, unknown, unknown])[] = [
      [400, undefined, { cwd: 'relative' }],
      [400, 'workspace_mismatch', { cwd: '/' }],
      [400, 'invalid_approval_mode', { approvalMode: 'x' }],
      [400, 'invalid_session_source', { sourceId: '' }],
    ];
    for (const how of ['load', 'resume'])
      for (const [status, code, json] of refusals)
        await ask.expect([status, code], 'POST', `${at}/${how}`, { json });
    const size = { json: { historyPageSize: 0 } };
    await ask.expect([400, 'invalid_transcript_limit'], 'POST', `${at}/load`, size);
    const mode = { json: { liveReplayMode: 'x' } };
    await ask.expect([400, 'invalid_live_replay_mode'], 'POST', `${at}/load`, mode);
    if (!target.isFleet) return;
    const elsewhere = { json: { cwd: server.workspaces[1] } };
    await ask.expect([409, 'session_workspace_conflict'], 'POST', `${at}/load`, elsewhere);
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
    const pr = { number: 7, url: 'https://example.org/7', state: 'open' };
    await ask.expect(200, 'PATCH', `/session/${sessionId}/metadata`, { json: { displayName: 'one', pr } });
    await ask.expect(200, 'PATCH', `/session/${sessionId}/metadata`, { json: {} });
    for (const json of [{ displayName: ' ' }, { pr: { ...pr, state: 'x' } }])
      await ask.expect([400, 'invalid_metadata'], 'PATCH', `/session/${sessionId}/metadata`, { json });
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
    for (const prompt of [[], [{ text: 'no type' }]])
      await ask.expect([400, undefined], 'POST', `${at}/prompt`, { json: { prompt } });
    const deadline = { json: { ...text('x').json, deadlineMs: 0 } };
    await ask.expect([400, 'invalid_deadline_ms'], 'POST', `${at}/prompt`, deadline);
    const detail = { json: { ...text('x').json, eventDetailMode: 'none' } };
    await ask.expect([400, 'invalid_event_detail_mode'], 'POST', `${at}/prompt`, detail);
    const delivery = { json: { ...text('x').json, delivery: { kind: 'mail' } } };
    await ask.expect([400, 'channel_delivery_invalid'], 'POST', `${at}/prompt`, delivery);
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
      ['parentSessionId=', 'invalid_parent_session_id'],
      ['parentSessionId=x&view=organized', 'invalid_parent_session_filter'],
      ['sourceType=', 'invalid_session_source'],
    ];
    for (const [query, code] of refusals)
      await ask.expect([400, code], 'GET', `/workspaces/${id}/sessions?${query}`);
    await ask.expect([400, undefined], 'GET', '/workspace/relative/sessions');
    await ask.expect([400, 'workspace_mismatch'], 'GET', '/workspaces/relative/sessions');
    await ask.expect([400, 'workspace_mismatch'], 'GET', '/workspace/%2F/sessions');
  });

  test.each(SESSION_OPERATIONS.map(({ name, method, path }) => [name, method.toUpperCase(), path]))(
    'to %s for a session or a client that it does not know',
    async (name, method, path) => {
      const filled = (id: string) => path.replace('{id}', id).replaceAll(/\{\w+\}/g, 'x');
      const json = {
        prompt: [{ type: 'text', text: 'x' }],
        message: 'x',
        modelId: 'm1',
        mode: 'default',
        configId: 'reasoning_effort',
        value: 'low',
        language: 'en',
        question: 'x',
        promptId: 'x',
        ...selected('x').json,
      };
      const options = method === 'GET' ? {} : { json };
      const unknown = name.endsWith('/metadata') ? randomUUID() : 'no-such-session';
      await ask.expect([404, 'session_not_found'], method, filled(unknown), options);
      const isRead = method === 'GET' && !name.endsWith('/pending-prompts');
      const isIndifferent = isRead || /detach|permission|load|resume/.test(name);
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
  }

  test('have covered every operation', async () => {
    expect(ask.missing('sessions', target.isFleet)).toEqual([]);
  });
});
