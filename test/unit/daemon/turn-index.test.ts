import { describe, expect, test } from '@jest/globals';
import type { ApiError } from '../../../daemon/contract/errors.ts';
import { type TranscriptRecord, viewOf } from '../../../daemon/domain/transcript-view.ts';
import { parseTurnIndexQuery, turnIndexOf } from '../../../daemon/domain/turn-index.ts';

let nextId = 1;
function said(sessionUpdate: string, text: string, promptId?: string): TranscriptRecord {
  const data = { sessionId: 's', update: { sessionUpdate, content: { type: 'text', text } } };
  const tags = promptId === undefined ? {} : { promptId };
  return { recordId: String(nextId++), atMs: 5000, type: 'session_update', data, ...tags };
}

const user = (text: string, promptId?: string) => said('user_message_chunk', text, promptId);
const agent = (text: string, promptId?: string) => said('agent_message_chunk', text, promptId);
const query = (text: string) => parseTurnIndexQuery(new URLSearchParams(text));
const index = (records: readonly TranscriptRecord[], text = '') =>
  turnIndexOf(viewOf('s', records, false), query(text));

describe('the index of turns', () => {
  test('has a line for each prompt, with its words and the record to go to', () => {
    const records = [
      user('first\n question', 'p1'),
      agent('a', 'p1'),
      user('second', 'p2'),
      agent('b', 'p2'),
    ];
    expect(index(records)).toMatchObject({
      v: 1,
      sessionId: 's',
      totalTurns: 2,
      start: 0,
      turns: [
        { ordinal: 0, turnId: records[0]?.recordId, kind: 'prompt', promptId: 'p1', label: 'first question' },
        { ordinal: 1, turnId: records[2]?.recordId, kind: 'prompt', promptId: 'p2', label: 'second' },
      ],
    });
  });

  test('takes the blocks of one prompt, and what is said while it runs, as one turn', () => {
    const records = [
      user('one', 'p1'),
      user('two', 'p1'),
      agent('a', 'p1'),
      user('by the way', 'p1'),
      agent('b', 'p1'),
    ];
    expect(index(records).turns.map(({ label }) => label)).toEqual(['one two']);
  });

  test('tells turns apart where the agent names no prompts', () => {
    const records = [agent('greeting'), user('one'), agent('a'), user('two')];
    expect(index(records).turns.map(({ label }) => label)).toEqual(['one', 'two']);
  });

  test('names a prompt without text by its kind, and shortens a long one', () => {
    const image = user('', 'p1');
    const records = [
      { ...image, data: { update: { sessionUpdate: 'user_message_chunk', content: { type: 'image' } } } },
      agent('a', 'p1'),
      user('x'.repeat(500), 'p2'),
    ];
    const [first, second] = index(records).turns;
    expect(first?.label).toBe('[image]');
    expect(second?.label).toMatch(/^x{119}…$/);
  });

  test('is shown in parts, and as it was at a snapshot', () => {
    const records = [1, 2, 3, 4].flatMap((n) => [user(`q${n}`, `p${n}`), agent(`a${n}`, `p${n}`)]);
    const { snapshot } = index(records.slice(0, 6));
    const then = index(records, `snapshot=${snapshot}&start=1&limit=5`);
    expect([then.totalTurns, then.snapshot, then.turns.map(({ ordinal }) => ordinal)]).toEqual([
      3,
      snapshot,
      [1, 2],
    ]);
    expect(index(records, 'start=9').turns).toEqual([]);
  });

  test.each([
    ['start=-1', 'invalid_transcript_cursor'],
    ['start=x', 'invalid_transcript_cursor'],
    ['snapshot=', 'invalid_transcript_cursor'],
    ['limit=0', 'invalid_transcript_limit'],
  ])('"%s" is refused as %s', (text, code) => {
    let refused: unknown;
    try {
      query(text);
    } catch (error) {
      refused = (error as ApiError).code;
    }
    expect(refused).toBe(code);
  });
});
