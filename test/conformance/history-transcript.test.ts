// The transcript of a session through real servers: paging, turn index and export, while it is live, after its close, after
// a restart, and the same for an agent that keeps its transcripts itself.
import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from '@jest/globals';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server, startDaemon, stubAgent } from '../support/fleet-process.ts';
import { validateAnswer } from '../support/openapi.ts';
import { BARE_DAEMON, TARGETS } from '../support/targets.ts';
import { type Answer, call, newSession, sendPrompt } from '../support/wire-client.ts';

interface Event {
  readonly id?: number;
  readonly type: string;
  readonly data: { readonly update?: Update } & Update;
}

interface Update {
  readonly sessionUpdate?: string;
  readonly toolCallId?: string;
  readonly content?: { readonly text?: string };
  readonly _meta?: Readonly<Record<string, unknown>>;
}

interface Page {
  readonly events: readonly Event[];
  readonly hasMore: boolean;
  readonly nextCursor?: string;
  readonly targetRecordId?: string;
  readonly hasOlder?: boolean;
}

afterEach(endFleets);

const updateOf = ({ data }: Event) => data.update ?? data;
const recordOf = (event: Event) => updateOf(event)._meta?.['qwen.session.recordId'] as string;
/** What an event says, without what differs between keepers. */
const gist = (event: Event) => {
  const { sessionUpdate, content, toolCallId } = updateOf(event);
  return [event.type, sessionUpdate, content?.text ?? toolCallId];
};
const tool = (id: number) =>
  `update:{"sessionUpdate":"tool_call","toolCallId":"t${id}","title":"step ${id}"}`;

async function talk(base: string, sessionId: string, text: string): Promise<void> {
  await sendPrompt(base, sessionId, text);
  await eventually('the end of the turn', async () => {
    const { json } = await call(base, 'GET', `/session/${sessionId}/status`);
    return json.hasActivePrompt === false;
  });
}

/** One read of a route of the session, held against the description. */
async function read(base: string, path: string, status = 200): Promise<Answer> {
  const answer = await call(base, 'GET', path);
  expect([path, answer.status, answer.text.slice(0, answer.status === status ? 0 : 500)]).toEqual([
    path,
    status,
    '',
  ]);
  const name = path
    .replace(/\?.*$/, '')
    .replace(/^(.*)\/session\/[^/]+/, '$1/session/{id}')
    .replace(/^\/workspaces\/[^/]+/, '/workspaces/{workspace}');
  validateAnswer(`get ${name}`, status, answer.text, answer.headers);
  return answer;
}

async function pages(base: string, at: string, query: string): Promise<readonly Page[]> {
  const found: Page[] = [];
  for (let next: string | undefined = query; next !== undefined; ) {
    const page = (await read(base, `${at}/transcript?${next}`)).json as unknown as Page;
    expect(page.hasMore).toBe(page.nextCursor !== undefined);
    found.push(page);
    next =
      page.nextCursor === undefined ? undefined : `${query.replace(/&.*/, '')}&cursor=${page.nextCursor}`;
  }
  return found;
}

describe.each(TARGETS)('a transcript on %s', (_name, target) => {
  test('pages forward and backward through more than one page may hold, each record once', async () => {
    const { baseUrl } = await target.start();
    const { sessionId } = await newSession(baseUrl);
    const at = `/session/${sessionId}`;
    await talk(baseUrl, sessionId, Array.from({ length: 620 }, (_, i) => tool(i)).join(' ; '));
    await talk(baseUrl, sessionId, 'N:300:20');
    const forward = await pages(baseUrl, at, 'limit=500');
    const events = forward.flatMap((page) => page.events);
    expect(forward.map((page) => page.events.length)).toEqual([500, 123]);
    expect(events.some((event) => 'id' in event)).toBe(false);
    expect(new Set(events.map(recordOf)).size).toBe(events.length);
    const backward = await pages(baseUrl, at, 'limit=97&direction=backward');
    expect(backward.every((page) => page.events.length <= 97)).toBe(true);
    expect([...backward].reverse().flatMap((page) => page.events)).toEqual(events);
  });

  test('is the same while live, after the close, and after a restart', async () => {
    const first = await target.start();
    const { sessionId } = await newSession(first.baseUrl);
    await talk(first.baseUrl, sessionId, 'hello');
    const at = `/session/${sessionId}`;
    const live = (await read(first.baseUrl, `${at}/transcript`)).json;
    expect((live.events as Event[]).map(gist)).toEqual([
      ['session_update', 'user_message_chunk', 'hello'],
      ['session_update', 'agent_message_chunk', 'echo: hello'],
    ]);
    expect((await call(first.baseUrl, 'DELETE', at)).status).toBe(204);
    expect((await read(first.baseUrl, `${at}/transcript`)).json).toEqual(live);
    await first.stop();
    const second = await target.start({ scratch: first.scratch });
    expect((await read(second.baseUrl, `${at}/transcript`)).json).toEqual(live);
    const ws = workspaceIdOf(second.workspace);
    expect((await read(second.baseUrl, `/workspaces/${ws}${at}/transcript`)).json).toEqual(live);
  });

  test('is found by the turn, with the snapshot of the index', async () => {
    const { baseUrl } = await target.start();
    const { sessionId } = await newSession(baseUrl);
    const at = `/session/${sessionId}`;
    for (const text of ['first question', 'second question', 'third question'])
      await talk(baseUrl, sessionId, text);
    const { json: index } = await read(baseUrl, `${at}/turn-index?start=1&limit=1`);
    expect(index).toMatchObject({ v: 1, sessionId, totalTurns: 3, start: 1 });
    const [turn] = index.turns as { turnId: string; label: string; ordinal: number }[];
    expect(turn).toMatchObject({ ordinal: 1, label: 'second question', kind: 'prompt' });
    await talk(baseUrl, sessionId, 'not in the snapshot');
    const query = `atRecordId=${turn?.turnId}&snapshot=${index.snapshot}`;
    const page = (await read(baseUrl, `${at}/transcript?${query}`)).json as unknown as Page;
    expect(page).toMatchObject({ targetRecordId: turn?.turnId, hasOlder: true, hasMore: false });
    expect(page.events.map((event) => gist(event)[2])).toEqual([
      'second question',
      'echo: second question',
      'third question',
      'echo: third question',
    ]);
    const before = (await read(baseUrl, `${at}/transcript?beforeRecordId=${turn?.turnId}`))
      .json as unknown as Page;
    expect(before.events.map((event) => gist(event)[2])).toEqual(['first question', 'echo: first question']);
    await read(baseUrl, `${at}/transcript?atRecordId=nothing&snapshot=${index.snapshot}`, 400);
  });

  test('refuses what it cannot understand', async () => {
    const { baseUrl } = await target.start();
    const { sessionId } = await newSession(baseUrl);
    const at = `/session/${sessionId}`;
    expect((await read(baseUrl, `${at}/transcript`, 404)).json.code).toBe('session_not_found');
    await talk(baseUrl, sessionId, 'hello');
    const refusals: readonly (readonly [string, string])[] = [
      ['transcript?limit=0', 'invalid_transcript_limit'],
      ['transcript?limit=501', 'invalid_transcript_limit'],
      ['transcript?limit=x', 'invalid_transcript_limit'],
      ['transcript?cursor=x', 'invalid_transcript_cursor'],
      ['transcript?cursor=', 'invalid_transcript_cursor'],
      ['transcript?cursor=e30&snapshot=e30', 'invalid_transcript_cursor'],
      ['transcript?direction=forward', 'invalid_transcript_cursor'],
      ['transcript?direction=backward&beforeRecordId=1', 'invalid_transcript_cursor'],
      ['transcript?beforeRecordId=nothing', 'invalid_transcript_cursor'],
      ['transcript?atRecordId=1', 'invalid_transcript_cursor'],
      ['turn-index?start=-1', 'invalid_transcript_cursor'],
      ['turn-index?limit=0', 'invalid_transcript_limit'],
      ['export?format=pdf', 'invalid_export_format'],
    ];
    for (const [query, code] of refusals)
      expect([query, (await read(baseUrl, `${at}/${query}`, 400)).json.code]).toEqual([query, code]);
    const gone = Buffer.from(JSON.stringify({ s: 'gone' })).toString('base64url');
    const answer = await read(baseUrl, `${at}/transcript?snapshot=${gone}`, 409);
    expect(answer.json.code).toBe('transcript_snapshot_unavailable');
    for (const route of ['transcript', 'turn-index', 'export'])
      await read(baseUrl, `/session/${randomUUID()}/${route}`, 404);
  });

  test('is exported as a document to keep, in every format', async () => {
    const { baseUrl } = await target.start();
    const { sessionId } = await newSession(baseUrl);
    await talk(baseUrl, sessionId, `${tool(1)} ; <script>alert(1)</script>`);
    for (const [format, type] of [
      ['html', 'text/html'],
      ['md', 'text/markdown'],
      ['json', 'application/json'],
      ['jsonl', 'application/jsonl'],
    ]) {
      const answer = await read(baseUrl, `/session/${sessionId}/export?format=${format}`);
      expect(answer.headers['content-type']).toContain(type);
      expect(answer.headers['content-disposition']).toBe(
        `attachment; filename="session-${sessionId}.${format}"`,
      );
      expect(answer.text).toContain('step 1');
    }
    const html = (await read(baseUrl, `/session/${sessionId}/export`)).text;
    expect(html).toContain('&#60;script&#62;');
    expect(html).not.toContain('<script');
    const head = await call(baseUrl, 'HEAD', `/session/${sessionId}/export`);
    expect([head.status, head.text, head.headers['content-type']]).toEqual([
      200,
      '',
      'text/html; charset=utf-8',
    ]);
  });
});

test('an agent that keeps its transcripts and one that does not show and export the same', async () => {
  const seen: unknown[] = [];
  // Ours has them; the agent that keeps its own does not say them.
  const facts = /,?\s*"(promptId|startTime|lastUpdated)": ?"[^"]*"/g;
  const times = / ?@?\d+\.\d\d|\d{4}-\d\d-\d\dT[\d:.]+Z/g;
  for (const switches of [[], ['--transcripts']]) {
    const server: Server = await BARE_DAEMON.start();
    const memory = server.scratch.dir;
    await server.stop();
    const agent = stubAgent('--load', '--memory', memory, ...switches);
    const options = { scratch: server.scratch, agent };
    const keeper = await startDaemon(options);
    const sessionId = '3f2504e0-4f89-41d3-9a0c-0305e82c3301';
    const made = await call(keeper.baseUrl, 'POST', '/session', { json: { sessionId } });
    expect(made.status).toBe(200);
    await talk(keeper.baseUrl, sessionId, `${tool(1)} ; N:1200:8`);
    await talk(keeper.baseUrl, sessionId, 'thanks');
    expect((await call(keeper.baseUrl, 'DELETE', `/session/${sessionId}`)).status).toBe(204);
    await keeper.stop();
    const { baseUrl } = await startDaemon(options);
    const events = (await pages(baseUrl, `/session/${sessionId}`, 'limit=2')).flatMap((page) => page.events);
    const index = (await read(baseUrl, `/session/${sessionId}/turn-index`)).json;
    const exported = async (format: string) => {
      const { text } = await read(baseUrl, `/session/${sessionId}/export?format=${format}`);
      return text.replace(facts, '').replace(times, '').replaceAll(server.workspace, 'ws');
    };
    const timeless = JSON.parse(JSON.stringify(events.map(gist)).replace(times, '')) as unknown;
    const labels = (index.turns as { label: string }[]).map(({ label }) => label);
    const [html, md, json, jsonl] = await Promise.all(['html', 'md', 'json', 'jsonl'].map(exported));
    seen.push({ timeless, labels, html, md, json, jsonl });
  }
  expect(seen[0]).toEqual(seen[1]);
});
