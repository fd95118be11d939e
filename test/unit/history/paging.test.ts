// Recorded transcripts page by page: the same as of one that is held whole, read only where a page is, and forgotten soon after.
import { renameSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { asRecord } from '../../../daemon/contract/json-record.ts';
import { MAX_RECORD_CHARS, updateOf } from '../../../daemon/domain/transcript.ts';
import { pageOf, type TranscriptPage } from '../../../daemon/domain/transcript-page.ts';
import { parseTranscriptQuery } from '../../../daemon/domain/transcript-page-query.ts';
import { viewOf } from '../../../daemon/domain/transcript-view.ts';
import { parseTurnIndexQuery, turnIndexOf } from '../../../daemon/domain/turn-index.ts';
import type { History, Recording } from '../../../daemon/history/history.ts';
import { pageFrom, turnIndexFrom } from '../../../daemon/history/paging.ts';
import { TranscriptIndexes } from '../../../daemon/history/transcript-indexes.ts';
import { eventually } from '../../support/eventually.ts';
import { TranscriptsKit } from './transcripts-kit.ts';

let kit = new TranscriptsKit();

afterEach(() => {
  kit.remove();
  kit = new TranscriptsKit();
});

const query = (text: string) => parseTranscriptQuery(new URLSearchParams(text));
const textsOf = ({ events }: TranscriptPage) =>
  events.map(({ data }) => asRecord(updateOf(data).content).text ?? updateOf(data).toolCallId);

async function pageIn(store: History, text: string): Promise<TranscriptPage> {
  const page = await store.using('s-1', (source) => pageFrom(source, query(text)));
  return page as TranscriptPage;
}

type Kind = 'user' | 'agent' | 'thought' | 'tool' | 'end' | 'error' | 'next' | 'statement' | 'gap';
const KINDS = [
  'user',
  'agent',
  'agent',
  'thought',
  'tool',
  'end',
  'error',
  'next',
  'statement',
  'gap',
] as const;

function tell(recording: Recording, kinds: readonly Kind[]): void {
  let turn = 1;
  for (const [index, kind] of kinds.entries()) {
    const promptId = `p-${turn}`;
    if (kind === 'user') kit.update(recording, 'user_message_chunk', `question ${index} é`, promptId);
    if (kind === 'agent') kit.update(recording, 'agent_message_chunk', `answer ${index}`, promptId);
    if (kind === 'thought') kit.update(recording, 'agent_thought_chunk', `thought ${index}`, promptId);
    const update = { sessionUpdate: 'tool_call', toolCallId: `t-${index}` };
    if (kind === 'tool') kit.note(recording, 'session_update', { sessionId: 's-1', update }, promptId);
    if (kind === 'end') kit.note(recording, 'turn_complete', { stopReason: 'end_turn' }, promptId);
    if (kind === 'error') kit.note(recording, 'turn_error', { message: 'no' }, promptId);
    if (kind === 'statement') recording.change({ displayName: `name ${index}` });
    // Ids of events that belong to no transcript.
    if (kind === 'gap') kit.update(recording, 'usage_update', '', promptId);
    if (kind === 'next') turn += 1;
  }
  recording.flush();
}

/** What a read of the whole transcript says to the query. */
async function expected(store: History) {
  const transcript = await store.read('s-1');
  return viewOf('s-1', transcript?.records ?? [], transcript?.isPartial === true);
}

async function outcome(run: () => unknown): Promise<unknown> {
  try {
    return await run();
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
}

const isSmall = (bytes: number) => kit.files.length === 1 && statSync(kit.files[0] as string).size < bytes;

describe('pages of a recording', () => {
  test('are those of the transcript as a whole, wherever they begin', async () => {
    const kinds = fc.array(fc.constantFrom<Kind>(...KINDS), { minLength: 1, maxLength: 50 });
    await fc.assert(
      fc.asyncProperty(kinds, fc.integer({ min: 1, max: 12 }), async (told, limit) => {
        kit.remove();
        kit = new TranscriptsKit();
        const store = kit.store();
        tell(kit.begin(store), told);
        const view = await expected(store);
        const { snapshot } = turnIndexOf(view, parseTurnIndexQuery(new URLSearchParams()));
        const ids = view.records.map(({ recordId }) => recordId);
        const starts = [
          '',
          'direction=backward',
          ...ids.flatMap((id) => [`beforeRecordId=${id}`, `atRecordId=${id}&snapshot=${snapshot}`]),
        ];
        for (const start of starts) {
          for (let next: string | undefined = start; next !== undefined; ) {
            const asked = query(`limit=${limit}&${next}`);
            const whole = await outcome(() => pageOf(view, asked));
            expect(await outcome(() => store.using('s-1', (source) => pageFrom(source, asked)))).toEqual(
              whole,
            );
            const cursor = asRecord(whole).nextCursor;
            next = typeof cursor === 'string' ? `cursor=${cursor}` : undefined;
          }
        }
        const turns = parseTurnIndexQuery(new URLSearchParams({ limit: String(limit), start: '1' }));
        expect(await store.using('s-1', (source) => turnIndexFrom(source, turns))).toEqual(
          turnIndexOf(view, turns),
        );
      }),
      { numRuns: 60 },
    );
  });

  test('go on while the session does', async () => {
    const store = kit.store();
    const recording = kit.begin(store);
    kit.turn(recording, 1);
    kit.update(recording, 'user_message_chunk', 'question 2', 'p-2');
    kit.update(recording, 'agent_message_chunk', 'one ', 'p-2');
    recording.flush();
    expect(textsOf(await pageIn(store, 'direction=backward&limit=1'))).toEqual(['one ']);
    kit.update(recording, 'agent_message_chunk', 'text', 'p-2');
    const page = await pageIn(store, 'direction=backward&limit=2');
    expect(textsOf(page)).toEqual(['question 2', 'one text']);
    kit.turn(recording, 3);
    // What came later is not in the pages that were begun before.
    expect(textsOf(await pageIn(store, `cursor=${page.nextCursor}`))).toHaveLength(2);
    expect((await pageIn(store, '')).events).toHaveLength(6);
  });

  test('go around a damaged line, and are partial, as the whole transcript is', async () => {
    const store = kit.store();
    const recording = kit.begin(store);
    kit.turn(recording, 1);
    recording.close();
    kit.text = kit.text.replace('"1xxxxxxxxxx"', '"1xxx');
    const page = await pageIn(store, '');
    expect(page.partial).toBe(true);
    expect(page).toEqual(pageOf(await expected(store), query('')));
  });

  test('hold through a compaction, and refuse what it dropped', async () => {
    kit = new TranscriptsKit(40_000);
    const store = kit.store();
    const recording = kit.begin(store);
    for (let i = 1; i <= 10; i++) kit.turn(recording, i, 2, 1000);
    const old = await pageIn(store, 'limit=1');
    const newest = await pageIn(store, 'direction=backward&limit=1');
    for (let i = 11; i <= 20; i++) kit.turn(recording, i, 2, 1000);
    await eventually('the compaction', () => (isSmall(40_000) ? true : undefined));
    expect(await outcome(() => pageIn(store, `cursor=${old.nextCursor}`))).toBe(
      'transcript_snapshot_unavailable',
    );
    expect(textsOf(await pageIn(store, `cursor=${newest.nextCursor}&limit=1`))).toEqual(['question 10']);
    expect((await pageIn(store, '')).partial).toBe(true);
  });

  test('have a very long text as several records, the same ones after a compaction', async () => {
    kit = new TranscriptsKit(9 * 1024 * 1024);
    const store = kit.store();
    const recording = kit.begin(store);
    const fill = (promptId: string) =>
      kit.update(recording, 'user_message_chunk', 'y'.repeat(1_000_000), promptId);
    for (let i = 0; i < 6; i++) fill('p-0');
    const chunk = 'x'.repeat(MAX_RECORD_CHARS / 10);
    kit.update(recording, 'user_message_chunk', 'question', 'p-1');
    for (let i = 0; i < 24; i++) kit.update(recording, 'agent_message_chunk', `${i}${chunk}`, 'p-1');
    recording.flush();
    const before = await pageIn(store, 'direction=backward&limit=4');
    expect(textsOf(before).map((text) => String(text).slice(0, 3))).toEqual(['que', '0xx', '9xx', '18x']);
    fill('p-2');
    recording.flush();
    await eventually('the compaction', () => (isSmall(5_000_000) ? true : undefined));
    const after = await pageIn(store, 'limit=4');
    expect(after.events).toEqual(before.events);
    expect((await store.read('s-1'))?.records).toHaveLength(5);
  });

  test('are of the file that is there now', async () => {
    const store = kit.store();
    kit.turn(kit.begin(store), 1);
    await pageIn(store, '');
    const [path = ''] = kit.files;
    writeFileSync(`${path}.new`, kit.text.replaceAll('question 1', 'question 7'));
    renameSync(`${path}.new`, path);
    expect(textsOf(await pageIn(store, 'limit=1'))).toEqual(['question 7']);
  });

  test('say nothing of a session that is not stored', async () => {
    expect(await kit.store().using('nobody', async () => 'read')).toBeUndefined();
  });
});

describe('the indexes of recordings', () => {
  const recorded = (sessionId: string): string => {
    const known = new Set(kit.hasFiles ? kit.files : []);
    kit.turn(kit.begin(kit.store(), sessionId), 1);
    return kit.files.find((path) => !known.has(path)) as string;
  };
  const read = (indexes: TranscriptIndexes, path: string) =>
    indexes.using(path, 's', async ({ outline }) => outline.length);

  test('are gone ten seconds after their last use', async () => {
    const path = recorded('s-1');
    const indexes = new TranscriptIndexes(kit.clock);
    await read(indexes, path);
    kit.clock.advance(9000);
    await read(indexes, path);
    kit.clock.advance(9000);
    expect(indexes.memoryBytes).toBeGreaterThan(0);
    kit.clock.advance(1000);
    expect(indexes.memoryBytes).toBe(0);
    expect(kit.clock.pending).toBe(0);
  });

  test('never hold more than their bound: the least recently used go first', async () => {
    const [first, second] = [recorded('s-1'), recorded('s-2')];
    const indexes = new TranscriptIndexes(kit.clock, 100);
    await read(indexes, first);
    const one = indexes.memoryBytes;
    expect(one).toBeGreaterThan(0);
    await read(indexes, second);
    expect(indexes.memoryBytes).toBe(one);
    const none = new TranscriptIndexes(kit.clock, 1);
    expect(await read(none, first)).toBe(2);
    expect(none.memoryBytes).toBe(0);
  });

  test('are made once for requests that come together', async () => {
    const path = recorded('s-1');
    const indexes = new TranscriptIndexes(kit.clock);
    const lengths = await Promise.all(Array.from({ length: 5 }, () => read(indexes, path)));
    expect(lengths).toEqual([2, 2, 2, 2, 2]);
    expect(kit.clock.pending).toBe(1);
  });
});
