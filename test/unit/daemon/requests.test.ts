import { describe, expect, test } from '@jest/globals';
import { ApiError } from '../../../daemon/contract/errors.ts';
import { listPage } from '../../../daemon/contract/session-page.ts';
import { parseCreateRequest } from '../../../daemon/domain/create-request.ts';
import { parseMetadataPatch } from '../../../daemon/domain/metadata.ts';
import { effectiveDeadlineMs, parsePromptRequest } from '../../../daemon/domain/prompt-request.ts';

const codeOf = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    if (error instanceof ApiError) return [error.status, error.code];
    throw error;
  }
  return 'accepted';
};
const text = { type: 'text', text: 'hi' };

describe('create request', () => {
  test('an empty body asks for the single scope', () => {
    expect(parseCreateRequest({})).toEqual({
      scope: 'single',
      sessionId: undefined,
      modelId: undefined,
      approvalMode: undefined,
      source: {},
    });
  });

  test('a chosen session id forces a thread and is lower-cased', () => {
    const { scope, sessionId } = parseCreateRequest({
      sessionScope: 'single',
      sessionId: 'AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE',
    });
    expect([scope, sessionId]).toEqual(['thread', 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee']);
  });

  test.each([
    [{ sessionScope: 'user' }, 400, 'invalid_session_scope'],
    [{ sessionId: 'nope' }, 400, 'invalid_session_id'],
    [{ sessionId: 'aaaaaaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee' }, 400, 'invalid_session_id'],
    [{ approvalMode: 'wild' }, 400, 'invalid_approval_mode'],
    [{ sourceType: 'Upper' }, 400, 'invalid_session_source'],
    [{ sourceType: 'standalone' }, 400, 'invalid_session_source'],
    [{ sourceId: '' }, 400, 'invalid_session_source'],
    [{ sourceId: 'a\nb' }, 400, 'invalid_session_source'],
    [{ worktree: {}, branch: { name: 'x' } }, 400, 'branch_and_worktree_conflict'],
    [{ branch: 'main' }, 400, 'invalid_branch'],
    [{ branch: {} }, 400, 'branch_invalid_name'],
    ...[
      '',
      '-x',
      '.x',
      'a..b',
      'a//b',
      '/a',
      'a/',
      'a.',
      'a.git',
      'x.lock/y',
      'HEAD',
      'a b',
      'a@{1}',
      'x'.repeat(201),
    ].map((name) => [{ branch: { name } }, 400, 'branch_invalid_name'] as const),
    [{ worktree: true }, 400, 'invalid_worktree'],
    ...['', '.', '-x', 'a..b', 'a/b', 'pr-12', 'agent-1', 'x'.repeat(65), 7].map(
      (slug) => [{ worktree: { slug } }, 400, 'worktree_invalid_slug'] as const,
    ),
  ])('%j is refused', (body, status, code) => {
    expect(codeOf(() => parseCreateRequest(body))).toEqual([status, code]);
  });

  test('a checkout of its own makes a session of its own', () => {
    const slugless = parseCreateRequest({ worktree: {}, branch: null });
    expect([slugless.scope, slugless.checkout]).toEqual(['thread', { kind: 'worktree', slug: undefined }]);
    const branch = parseCreateRequest({ sessionScope: 'single', branch: { name: 'feat/ä_1.2' } });
    expect([branch.scope, branch.checkout]).toEqual(['thread', { kind: 'branch', name: 'feat/ä_1.2' }]);
    expect(parseCreateRequest({ worktree: null, branch: null }).checkout).toBeUndefined();
  });

  test('a model id that is no string is ignored', () => {
    expect(parseCreateRequest({ modelServiceId: 7 }).modelId).toBeUndefined();
  });
});

describe('prompt request', () => {
  test.each([
    [{}],
    [{ prompt: [] }],
    [{ prompt: 'hi' }],
    [{ prompt: ['hi'] }],
    [{ prompt: [null] }],
    [{ prompt: [{ text: 'no type' }] }],
    [{ prompt: [text, { type: 1 }] }],
    [{ prompt: [{ type: 'image' }] }],
    [{ prompt: Array.from({ length: 257 }, () => ({ type: 'resource_link' })) }],
  ])('%j is refused without a code', (body) => {
    expect(codeOf(() => parsePromptRequest(body))).toEqual([400, undefined]);
  });

  test.each([0, -1, 1.5, '5'])('a deadline of %j is refused', (deadlineMs) => {
    expect(codeOf(() => parsePromptRequest({ prompt: [text], deadlineMs }))).toEqual([
      400,
      'invalid_deadline_ms',
    ]);
  });

  test.each([null, '', 'none', 1, ['full']])('an event detail of %j is refused', (eventDetailMode) => {
    expect(codeOf(() => parsePromptRequest({ prompt: [text], eventDetailMode }))).toEqual([
      400,
      'invalid_event_detail_mode',
    ]);
  });

  const target = { channelName: 'team', type: 'chat', id: '7' };

  test.each([
    [null],
    ['team'],
    [{}],
    [{ kind: 'mail', target }],
    [{ kind: 'channel' }],
    [{ kind: 'channel', target: [] }],
    [{ kind: 'channel', target, text: 'hi' }],
    [{ kind: 'channel', target: { ...target, type: 'room' } }],
    [{ kind: 'channel', target: { ...target, id: ' ' } }],
    [{ kind: 'channel', target: { ...target, id: 7 } }],
    [{ kind: 'channel', target: { ...target, channelName: 'x'.repeat(2049) } }],
    [{ kind: 'channel', target: { ...target, thread: '1' } }],
  ])('a delivery as %j is refused', (delivery) => {
    expect(codeOf(() => parsePromptRequest({ prompt: [text], delivery }))).toEqual([
      400,
      'channel_delivery_invalid',
    ]);
  });

  test('a delivery and an event detail that are well formed are taken, and kept from the agent', () => {
    const delivery = { kind: 'channel', target };
    for (const eventDetailMode of ['full', 'summary', undefined])
      expect(parsePromptRequest({ prompt: [text], delivery, eventDetailMode }).extras).toEqual({});
  });

  test('unknown fields go to the agent, private meta keys do not', () => {
    const { extras } = parsePromptRequest({
      prompt: [text],
      sessionId: 'other',
      custom: 1,
      _meta: { 'qwen.daemon.secret': 1, kept: 2 },
    });
    expect(extras).toEqual({ custom: 1, _meta: { kept: 2 } });
  });

  test.each([
    'qwen.daemon.retry',
    'qwen-code/invocation',
    'qwen-code/private-parent-capability',
    'qwen.channel.prompt',
    'qwen.channel.outputMode',
    'qwen.submittedPrompt',
    'qwen.goalProposalApproval',
  ])('the agent does not get the meta key %s from a client', (key) => {
    const _meta = { [key]: true, 'qwen.telemetry.traceparent': 'a', 'other.submittedPrompt': 'b' };
    const { extras } = parsePromptRequest({ prompt: [text], _meta });
    expect(extras).toEqual({ _meta: { 'qwen.telemetry.traceparent': 'a', 'other.submittedPrompt': 'b' } });
  });

  test('a request can only shorten the configured deadline', () => {
    expect(effectiveDeadlineMs(0, 5)).toBeUndefined();
    expect(effectiveDeadlineMs(100, undefined)).toBe(100);
    expect(effectiveDeadlineMs(100, 5)).toBe(5);
    expect(effectiveDeadlineMs(100, 500)).toBe(100);
  });
});

describe('metadata patch', () => {
  const pr = { number: 7, url: 'https://example.org/7' };

  test.each(['open', 'merged', 'closed'])('a pull request may be %s', (state) => {
    expect(parseMetadataPatch({ pr: { ...pr, state } })).toEqual({ pr: { ...pr, state } });
  });

  test('a pull request need not have a state', () => {
    expect(parseMetadataPatch({ pr })).toEqual({ pr });
  });

  test.each(['draft', '', 'Open', null, 1])('a pull request that is %j is refused', (state) => {
    expect(codeOf(() => parseMetadataPatch({ pr: { ...pr, state } }))).toEqual([400, 'invalid_metadata']);
  });
});

describe('session page', () => {
  const all = Array.from({ length: 45 }, (_, i) => ({
    createdAtMs: Math.floor(i / 2),
    summary: { sessionId: `s${String(i).padStart(2, '0')}`, sourceType: i % 5 === 0 ? 'ci' : undefined },
  }));
  const ids = (query: string) =>
    listPage(all, new URLSearchParams(query)).sessions.map(({ sessionId }) => sessionId);

  test('pages are newest first, end without a cursor, and repeat nothing', () => {
    const seen: unknown[] = [];
    let query = 'size=20';
    for (;;) {
      const page = listPage(all, new URLSearchParams(query));
      seen.push(...page.sessions.map(({ sessionId }) => sessionId));
      if (page.nextCursor === undefined) break;
      query = `size=20&cursor=${page.nextCursor}`;
    }
    expect(seen).toHaveLength(45);
    expect(new Set(seen).size).toBe(45);
    expect(seen[0]).toBe('s44');
  });

  test.each([
    ['size=abc', 20],
    ['', 20],
    ['size=0', 1],
    ['size=1000', 45],
    ['size=-4', 1],
  ])('"%s" lists %d', (query, count) => expect(ids(query)).toHaveLength(count));

  test('filters by source', () => expect(ids('sourceType=ci&size=100')).toHaveLength(9));

  test('filters by parent, whatever an agent takes for an id', () => {
    const parent = '3F333DF6-90A4-4FDA-8DD3-9485D27CEE36';
    const children = ['of-an-agent', parent.toLowerCase()].map((parentSessionId, createdAtMs) => ({
      createdAtMs,
      summary: { sessionId: `child-${createdAtMs}`, parentSessionId },
    }));
    const of = (id: string) => listPage(children, new URLSearchParams({ parentSessionId: id })).sessions;
    expect(of('of-an-agent')).toMatchObject([{ sessionId: 'child-0' }]);
    expect(of(parent)).toMatchObject([{ sessionId: 'child-1' }]);
    expect(of('nobody')).toEqual([]);
  });

  test('archived sessions are none', () => expect(ids('archiveState=archived')).toEqual([]));

  test.each([
    ['cursor=xyz', 'invalid_cursor'],
    ['archiveState=gone', 'invalid_archive_state'],
    ['view=flat', 'invalid_session_view'],
    ['group=a', 'invalid_session_group_filter'],
    ['parentSessionId=', 'invalid_parent_session_id'],
    ['parentSessionId=x&view=organized', 'invalid_parent_session_filter'],
    ['sourceType=', 'invalid_session_source'],
    ['sourceType=CI', 'invalid_session_source'],
    ['sourceId=7', 'invalid_session_source'],
    ['sourceType=ci&sourceId=', 'invalid_session_source'],
    [`sourceType=ci&sourceId=${'x'.repeat(257)}`, 'invalid_session_source'],
  ])('"%s" is refused as %s', (query, code) => expect(codeOf(() => ids(query))).toEqual([400, code]));
});
