import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { ApiError } from '../../../daemon/contract/errors.ts';
import { asRecord } from '../../../daemon/contract/json-record.ts';
import { updateOf } from '../../../daemon/domain/transcript.ts';
import { type PageBounds, pageOf, type TranscriptPage } from '../../../daemon/domain/transcript-page.ts';
import {
  encodeCursor,
  encodeSnapshot,
  parseTranscriptQuery,
} from '../../../daemon/domain/transcript-page-query.ts';
import { type TranscriptRecord, viewOf } from '../../../daemon/domain/transcript-view.ts';

type Kind = 'user' | 'agent' | 'tool' | 'end' | 'error';

const UPDATES = { user: 'user_message_chunk', agent: 'agent_message_chunk', tool: 'tool_call' } as const;

function record(id: number, kind: Kind, text = `text ${id}`): TranscriptRecord {
  const base = { recordId: String(id), atMs: 1000 + id };
  if (kind === 'end') return { ...base, type: 'turn_complete', data: { stopReason: 'end_turn' } };
  if (kind === 'error') return { ...base, type: 'turn_error', data: { message: text } };
  const update = { sessionUpdate: UPDATES[kind], content: { type: 'text', text }, toolCallId: `t${id}` };
  return { ...base, type: 'session_update', data: { sessionId: 's', update } };
}

const recordsOf = (kinds: readonly Kind[]) => kinds.map((kind, index) => record(index + 1, kind));
const view = (kinds: readonly Kind[], isPartial = false) => viewOf('s', recordsOf(kinds), isPartial);
const query = (text: string) => parseTranscriptQuery(new URLSearchParams(text));

const textsOf = (page: TranscriptPage) =>
  page.events.map(({ data }) => {
    const update = updateOf(data);
    return asRecord(update.content).text ?? asRecord(data).message;
  });

function follow(kinds: readonly Kind[], first: string, limit: number, bounds?: PageBounds) {
  const pages: TranscriptPage[] = [];
  for (let next: string | undefined = first; next !== undefined; ) {
    const page: TranscriptPage = pageOf(view(kinds), query(`limit=${limit}&${next}`), bounds);
    pages.push(page);
    next = page.nextCursor === undefined ? undefined : `cursor=${page.nextCursor}`;
  }
  return pages;
}

function refusal(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return (error as ApiError).code;
  }
  return undefined;
}

const KINDS = fc.array(fc.constantFrom<Kind>('user', 'agent', 'tool', 'end', 'error'), { maxLength: 60 });

describe('pages of a transcript', () => {
  test('are complete and do not overlap, in either direction, whatever their size', () => {
    fc.assert(
      fc.property(
        KINDS,
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 2000 }),
        (kinds, limit, targetBytes) => {
          const whole = pageOf(view(kinds), query('limit=500')).events;
          const bounds = { targetBytes, maxBytes: 1_000_000 };
          const forward = follow(kinds, '', limit, bounds);
          const backward = follow(kinds, 'direction=backward', limit, bounds);
          expect(forward.flatMap(({ events }) => events)).toEqual(whole);
          expect([...backward].reverse().flatMap(({ events }) => events)).toEqual(whole);
          for (const { events } of [...forward, ...backward])
            expect(events.length).toBeLessThanOrEqual(limit);
        },
      ),
    );
  });

  test('stay complete while the session goes on: what comes later is not in them', () => {
    fc.assert(
      fc.property(KINDS, KINDS, fc.integer({ min: 1, max: 9 }), (kinds, later, limit) => {
        const first = pageOf(view(kinds), query(`limit=${limit}`));
        const shown = [...textsOf(first)];
        let { nextCursor } = first;
        while (nextCursor !== undefined) {
          const page = pageOf(
            view([...kinds, 'end', 'user', ...later]),
            query(`limit=${limit}&cursor=${nextCursor}`),
          );
          shown.push(...textsOf(page));
          nextCursor = page.nextCursor;
        }
        expect(shown).toEqual(textsOf(pageOf(view(kinds), query('limit=500'))));
      }),
    );
  });

  test('have the chunks of a text as one record, named by the first, and no ends of turns', () => {
    const page = pageOf(view(['user', 'agent', 'agent', 'agent', 'end', 'user', 'error']), query(''));
    expect(textsOf(page)).toEqual(['text 1', 'text 2text 3text 4', 'text 6', 'text 7']);
    expect(page.events.map(({ data }) => asRecord(updateOf(data)._meta)['qwen.session.recordId'])).toEqual([
      '1',
      '2',
      '6',
      undefined,
    ]);
    expect(page).toMatchObject({
      v: 1,
      sessionId: 's',
      hasMore: false,
      startTime: new Date(1001).toISOString(),
      lastUpdated: new Date(1007).toISOString(),
    });
    expect('partial' in page || 'nextCursor' in page || page.events.some((event) => 'id' in event)).toBe(
      false,
    );
  });

  test('say that something is missing', () => {
    expect(pageOf(view(['user'], true), query('')).partial).toBe(true);
  });

  test('before a record end with the one in front of it', () => {
    const pageBefore = (id: number) =>
      textsOf(pageOf(view(['user', 'agent', 'end', 'user']), query(`beforeRecordId=${id}`)));
    expect(pageBefore(4)).toEqual(['text 1', 'text 2']);
    expect(pageBefore(1)).toEqual([]);
    // The end of a turn is no record of its own, but other answers name it.
    expect(pageBefore(3)).toEqual(['text 1', 'text 2']);
  });

  test('at a turn begin with it and end with the snapshot', () => {
    const kinds: Kind[] = ['user', 'agent', 'end', 'user', 'agent', 'end', 'user', 'agent'];
    const at = (id: string) => query(`atRecordId=${id}&snapshot=${encodeSnapshot('5')}`);
    const page = pageOf(view(kinds), at('4'));
    expect(page).toMatchObject({ targetRecordId: '4', hasOlder: true, hasMore: false });
    expect(textsOf(page)).toEqual(['text 4', 'text 5']);
    for (const id of ['5', '7', 'x'])
      expect(refusal(() => pageOf(view(kinds), at(id)))).toBe('invalid_turn_anchor');
  });

  test('are refused when what they name has been dropped', () => {
    const gone = `cursor=${encodeCursor('x', 'forward', '1')}`;
    const past = `snapshot=${encodeSnapshot('x')}`;
    for (const text of [gone, past])
      expect(refusal(() => pageOf(view(['user']), query(text)))).toBe('transcript_snapshot_unavailable');
    expect(refusal(() => pageOf(view(['user']), query('beforeRecordId=x')))).toBe(
      'invalid_transcript_cursor',
    );
  });

  test('are refused when a single record is larger than a page may be', () => {
    const bounds = { targetBytes: 10, maxBytes: 20 };
    expect(refusal(() => pageOf(view(['user']), query(''), bounds))).toBe('transcript_page_too_large');
  });
});

describe('the query of a transcript', () => {
  test.each([
    ['limit=0', 'invalid_transcript_limit'],
    ['limit=501', 'invalid_transcript_limit'],
    ['limit=1.5', 'invalid_transcript_limit'],
    ['limit=', 'invalid_transcript_limit'],
    ['cursor=', 'invalid_transcript_cursor'],
    ['cursor=a&direction=backward', 'invalid_transcript_cursor'],
    ['cursor=a&beforeRecordId=1', 'invalid_transcript_cursor'],
    ['cursor=a&atRecordId=1', 'invalid_transcript_cursor'],
    ['cursor=a&snapshot=b', 'invalid_transcript_cursor'],
    ['direction=forward', 'invalid_transcript_cursor'],
    ['direction=backward&beforeRecordId=1', 'invalid_transcript_cursor'],
    ['direction=backward&atRecordId=1&snapshot=a', 'invalid_transcript_cursor'],
    ['beforeRecordId=1&atRecordId=1&snapshot=a', 'invalid_transcript_cursor'],
    ['beforeRecordId=', 'invalid_transcript_cursor'],
    ['atRecordId=1', 'invalid_transcript_cursor'],
    ['atRecordId=%20&snapshot=a', 'invalid_turn_anchor'],
    [`snapshot=${'x'.repeat(4097)}`, 'invalid_transcript_cursor'],
  ])('"%s" is refused as %s', (text, code) => {
    expect(refusal(() => query(text))).toBe(code);
  });

  test.each(['cursor=x', 'cursor=e30', 'snapshot=x', 'snapshot=e30', 'cursor=W10'])(
    '"%s" is nothing that was given out',
    (text) => {
      expect(refusal(() => pageOf(view(['user']), query(text)))).toBe('invalid_transcript_cursor');
    },
  );

  test('may be empty', () => {
    expect(query('')).toEqual({ limit: 100 });
  });
});
