// The past of sessions: every such operation of docs/openapi.yaml, asked of real servers in its success and its main refusals;
// every answer is held against the description.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import { endFleets, type Server, stubAgent } from '../support/fleet-process.ts';
import { Examiner } from '../support/openapi.ts';
import { TARGETS } from '../support/targets.ts';
import { clientHeader, newSession } from '../support/wire-client.ts';

const text = (words: string) => ({ json: { prompt: [{ type: 'text', text: words }] } });

afterAll(endFleets);

describe.each(TARGETS)('what %s says of the past', (_name, target) => {
  let server: Server;
  let ask: Examiner;
  /** Path of the workspace's qualified routes. */
  let ours: string;

  beforeAll(async () => {
    server = await target.start({ agent: stubAgent('--ext', '--load') });
    ask = new Examiner(server.baseUrl);
    ours = `/workspaces/${workspaceIdOf(server.workspace)}`;
  });

  /** A session in which something was said. */
  async function told(words = 'hello there'): Promise<string> {
    const { sessionId } = await newSession(server.baseUrl);
    const { json } = await ask.expect(202, 'POST', `/session/${sessionId}/prompt`, text(words));
    const headers = { 'last-event-id': String(json.lastEventId) };
    const stream = await ask.stream(sessionId, { headers });
    await stream.settled(String(json.promptId));
    stream.close();
    return sessionId;
  }

  test('in transcripts', async () => {
    const id = await told();
    for (const at of [`/session/${id}`, `${ours}/session/${id}`]) {
      const { json: page } = await ask.expect(200, 'GET', `${at}/transcript?limit=1`);
      expect(page.hasMore).toBe(true);
      await ask.expect(200, 'GET', `${at}/transcript?cursor=${page.nextCursor}`);
      const { json: index } = await ask.expect(200, 'GET', `${at}/turn-index`);
      const [turn] = index.turns as { turnId: string }[];
      const anchor = `atRecordId=${turn?.turnId}&snapshot=${index.snapshot}`;
      const { json: target } = await ask.expect(200, 'GET', `${at}/transcript?${anchor}`);
      expect(target.hasOlder).toBe(false);
      for (const format of ['html', 'md', 'json', 'jsonl'])
        await ask.expect(200, 'GET', `${at}/export?format=${format}`);
      await ask.expect(200, 'GET', `${at}/export`);
      const refusals = [
        ['transcript?limit=0', 'invalid_transcript_limit'],
        ['transcript?cursor=x', 'invalid_transcript_cursor'],
        ['transcript?direction=x', 'invalid_transcript_cursor'],
        [`transcript?atRecordId=&snapshot=${index.snapshot}`, 'invalid_turn_anchor'],
        ['turn-index?start=x', 'invalid_transcript_cursor'],
        ['turn-index?limit=501', 'invalid_transcript_limit'],
        ['export?format=x', 'invalid_export_format'],
      ];
      for (const [query, code] of refusals) await ask.expect([400, code], 'GET', `${at}/${query}`);
    }
  });

  test('of sessions that it does not have', async () => {
    for (const at of [`/session/${randomUUID()}`, `${ours}/session/${randomUUID()}`])
      for (const read of ['transcript', 'turn-index', 'export'])
        await ask.expect([404, 'session_not_found'], 'GET', `${at}/${read}`);
    const elsewhere = `/workspaces/none/session/${randomUUID()}`;
    for (const read of ['transcript', 'turn-index', 'export'])
      await ask.expect([400, 'workspace_mismatch'], 'GET', `${elsewhere}/${read}`);
    const patch = { json: { displayName: 'x' } };
    await ask.expect([404, 'session_not_found'], 'PATCH', `${ours}/session/${randomUUID()}/metadata`, patch);
    await ask.expect([400, 'workspace_mismatch'], 'PATCH', `${elsewhere}/metadata`, patch);
  });

  test('in searches, counts and polls', async () => {
    await told('a needle');
    const id = workspaceIdOf(server.workspace);
    for (const at of [ours, `/workspace/${id}`, `/workspace/${encodeURIComponent(server.workspace)}`]) {
      const { json } = await ask.expect(200, 'GET', `${at}/sessions/search?q=needle`);
      expect(json.results).toHaveLength(1);
      await ask.expect([400, 'invalid_search_query'], 'GET', `${at}/sessions/search`);
      const tooMany = `${at}/sessions/search?q=x&maxResults=0`;
      await ask.expect([400, 'invalid_search_max_results'], 'GET', tooMany);
      await ask.expect(200, 'GET', `${at}/session-info`);
    }
    await ask.expect(200, 'GET', `${ours}/sessions/live-state`);
    for (const read of ['sessions/search?q=x', 'session-info', 'sessions/live-state'])
      await ask.expect([400, 'workspace_mismatch'], 'GET', `/workspaces/none/${read}`);
  });

  test('in catalogs', async () => {
    const members = [{ workspace: server.workspace }, { workspace: 'none' }];
    const { json } = await ask.expect(200, 'POST', '/sessions/catalog', {
      json: { workspaces: members, options: { size: 1 }, includeGroups: true },
    });
    expect(json.workspaces).toMatchObject([{ cwd: server.workspace }, { error: { status: 400 } }]);
    await ask.expect(200, 'POST', '/sessions/catalog', { json: { workspaces: 'all' } });
    for (const bad of [{}, { workspaces: [] }, { workspaces: 'all', options: 1 }])
      await ask.expect([400, 'invalid_request'], 'POST', '/sessions/catalog', { json: bad });
  });

  test('is archived, brought back and deleted', async () => {
    for (const at of ['/sessions', `${ours}/sessions`]) {
      const id = await told();
      const those = { json: { sessionIds: [id, randomUUID()] } };
      const { json: archived } = await ask.expect(200, 'POST', `${at}/archive`, those);
      expect(archived).toMatchObject({ archived: [id], notFound: [expect.any(String)] });
      await ask.expect([409, 'session_archived'], 'GET', `/session/${id}/transcript`);
      await ask.expect([409, 'session_archived'], 'GET', `${ours}/session/${id}/export`);
      await ask.expect([409, 'session_archived'], 'POST', `/session/${id}/load`);
      const { json: back } = await ask.expect(200, 'POST', `${at}/unarchive`, those);
      expect(back.unarchived).toEqual([id]);
      await ask.expect(200, 'GET', `/session/${id}/transcript`);
      const { json: deleted } = await ask.expect(200, 'POST', `${at}/delete`, those);
      expect(deleted.removed).toEqual([id]);
      for (const name of ['archive', 'unarchive', 'delete']) {
        await ask.expect([400, 'invalid_request'], 'POST', `${at}/${name}`, { json: { sessionIds: [] } });
        const malformed = { ...those, headers: clientHeader('two words') };
        await ask.expect([400, 'invalid_client_id'], 'POST', `${at}/${name}`, malformed);
      }
    }
  });

  test('is left out of the archive while it is at work', async () => {
    const id = await told();
    await ask.expect(202, 'POST', `/session/${id}/prompt`, text('hang'));
    const { json } = await ask.expect(200, 'POST', '/sessions/archive', { json: { sessionIds: [id] } });
    expect(json.errors).toMatchObject([{ sessionId: id, code: 'session_busy' }]);
    await ask.expect(204, 'POST', `/session/${id}/cancel`);
  });

  test('is named', async () => {
    const id = await told();
    const at = `${ours}/session/${id}/metadata`;
    await ask.expect(200, 'PATCH', at, { json: { displayName: 'live' } });
    await ask.expect([400, 'invalid_metadata'], 'PATCH', at, { json: { displayName: '' } });
    await ask.expect([400, 'invalid_session_id'], 'PATCH', `${ours}/session/x/metadata`, { json: {} });
    await ask.expect(204, 'DELETE', `/session/${id}`);
    const { json } = await ask.expect(200, 'PATCH', at, { json: { displayName: 'at rest' } });
    expect(json).toEqual({ sessionId: id, displayName: 'at rest' });
    const pr = { number: 1, url: 'https://example.org/1', state: 'merged' };
    await ask.expect([501, 'not_implemented'], 'PATCH', at, { json: { pr } });
  });

  test('has covered every operation', () => {
    expect(ask.missing('history', target.isFleet)).toEqual([]);
  });
});
