import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { runBatch } from '../../../daemon/catalog/batch.ts';
import { listPage } from '../../../daemon/contract/session-page.ts';
import { parseSessionIds } from '../../../daemon/domain/session-batch.ts';
import { parseSearchQuery, snippetIn, snippetOf } from '../../../daemon/domain/session-search.ts';
import { type TranscriptRecord, viewOf } from '../../../daemon/domain/transcript-view.ts';

const query = (text: string) => parseSearchQuery(new URLSearchParams(text));

describe('a search', () => {
  test('is for words in any case', () => {
    expect(query('q=%20Two%20Words%20&maxResults=3')).toEqual({ needle: 'two words', maxResults: 3 });
    expect(query('q=x').maxResults).toBe(20);
  });

  test.each([
    ['', 'invalid_search_query'],
    ['q=%20', 'invalid_search_query'],
    [`q=${'x'.repeat(201)}`, 'invalid_search_query'],
    ['q=x&maxResults=0', 'invalid_search_max_results'],
    ['q=x&maxResults=51', 'invalid_search_max_results'],
    ['q=x&maxResults=x', 'invalid_search_max_results'],
  ])('"%s" is refused as %s', (text, code) => {
    expect(() => query(text)).toThrow(expect.objectContaining({ code }));
  });

  test('shows one short line around the first match', () => {
    expect(snippetIn('nothing', 'needle')).toBeUndefined();
    expect(snippetIn('a\n NEEDLE\tb', 'needle')).toBe('a NEEDLE b');
    const snippet = snippetIn(`${'x'.repeat(500)} needle ${'y'.repeat(500)}`, 'needle') ?? '';
    expect(snippet).toMatch(/^…x+ needle y+…$/);
    expect(snippet.length).toBeLessThanOrEqual(122);
  });

  test('finds words that came in several chunks, and not what tools or thoughts say', () => {
    const chunk = (id: number, sessionUpdate: string, text: string): TranscriptRecord => ({
      recordId: String(id),
      atMs: 0,
      type: 'session_update',
      data: { sessionUpdate, content: { type: 'text', text } },
    });
    const records = [
      chunk(1, 'agent_thought_chunk', 'needle'),
      chunk(2, 'agent_message_chunk', 'a nee'),
      chunk(3, 'agent_message_chunk', 'dle found'),
    ];
    expect(snippetOf(viewOf('s', records, false), 'needle')).toBe('a needle found');
    expect(snippetOf(viewOf('s', records.slice(0, 1), false), 'needle')).toBeUndefined();
  });
});

describe('a batch', () => {
  test('names each session once', () => {
    expect(parseSessionIds({ sessionIds: ['a', 'b', 'a'] })).toEqual(['a', 'b']);
  });

  test('answers for every session, also where one fails', async () => {
    const answer = await runBatch(['a', 'b', 'c', 'd'], ['done'], (id) => {
      if (id === 'a') throw new Error('disk full');
      if (id === 'b') return { error: 'busy', code: 'session_busy' };
      return id === 'c' ? 'done' : 'notFound';
    });
    expect(answer).toEqual({
      done: ['c'],
      notFound: ['d'],
      errors: [
        { sessionId: 'a', error: 'disk full' },
        { sessionId: 'b', error: 'busy', code: 'session_busy' },
      ],
    });
  });
});

describe('a listing of live and stored sessions', () => {
  const session = fc.record({ createdAtMs: fc.integer({ min: 0, max: 5 }), isUnpersisted: fc.boolean() });

  test.each(['appended', 'merged'] as const)('that is %s shows each session once', (listing) => {
    fc.assert(
      fc.property(fc.array(session, { maxLength: 30 }), fc.integer({ min: 1, max: 7 }), (facts, size) => {
        const items = facts.map((fact, index) => ({
          ...fact,
          summary: { sessionId: `s${index}`, isArchived: false },
        }));
        const shown: unknown[] = [];
        for (let cursor: string | undefined = ''; cursor !== undefined; ) {
          const page = listPage(items, new URLSearchParams({ size: String(size), cursor }), listing);
          shown.push(...page.sessions.map(({ sessionId }) => sessionId));
          cursor = page.nextCursor;
        }
        expect(shown.sort()).toEqual(items.map(({ summary }) => summary.sessionId).sort());
      }),
    );
  });

  test('that began with live sessions alone goes on with them when they have come to disk', () => {
    const items = (isUnpersisted: boolean) =>
      [1, 2, 3].map((createdAtMs) => ({
        createdAtMs,
        isUnpersisted,
        summary: { sessionId: `s${createdAtMs}` },
      }));
    const first = listPage(items(true), new URLSearchParams({ size: '2' }));
    const rest = listPage(items(false), new URLSearchParams({ size: '2', cursor: first.nextCursor ?? '' }));
    expect([...first.sessions, ...rest.sessions].map(({ sessionId }) => sessionId)).toEqual([
      's3',
      's2',
      's1',
    ]);
  });

  test('has archived sessions only where they are asked for', () => {
    const items = [true, false].map((isArchived) => ({
      createdAtMs: 1,
      summary: { sessionId: `s-${isArchived}`, isArchived },
    }));
    const ids = (text: string) =>
      listPage(items, new URLSearchParams(text)).sessions.map(({ sessionId }) => sessionId);
    expect([ids(''), ids('archiveState=archived')]).toEqual([['s-false'], ['s-true']]);
  });
});
