import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { EventEnvelope } from '../../../daemon/contract/wire.ts';
import type { PastEvent } from '../../../daemon/domain/journal.ts';
import { Replay, type ReplayOptions } from '../../../daemon/domain/replay.ts';
import { isOfTranscript, mergeTexts } from '../../../daemon/domain/transcript.ts';

const QUERY = { compactedMode: 'full', journalMode: 'full', pageSize: undefined } as const;

class Story {
  readonly replay: Replay;
  readonly events: PastEvent[] = [];

  constructor(options: Partial<ReplayOptions> = {}) {
    this.replay = new Replay({
      compactedReplayMaxBytes: 1_000_000,
      maxJournalEvents: 1000,
      maxJournalBytes: 1_000_000,
      isRecorded: true,
      isTranscriptWhole: () => true,
      ...options,
    });
  }

  note(type: string, data: unknown, promptId?: string): void {
    const event = { id: this.events.length + 1, type, data, promptId, atMs: 0 };
    this.events.push(event);
    this.replay.note(event, JSON.stringify(data).length);
  }

  update(kind: string, text: string, promptId?: string): void {
    this.note(
      'session_update',
      { sessionId: 's', update: { sessionUpdate: kind, content: { type: 'text', text } } },
      promptId,
    );
  }

  turn(number: number, text = 'x'.repeat(20)): void {
    const promptId = `p-${number}`;
    this.update('user_message_chunk', `question ${number}`, promptId);
    this.update('agent_message_chunk', text, promptId);
    this.note('turn_complete', { stopReason: 'end_turn', promptId }, promptId);
  }

  get answer() {
    return this.replay.answer(QUERY, 0);
  }
}

const typesOf = (events: readonly EventEnvelope[]) => events.map(({ type }) => type);

describe('a replay', () => {
  test('moves a turn from the journal to the finished ones with its end', () => {
    const story = new Story();
    story.turn(1);
    story.update('user_message_chunk', 'two', 'p-2');
    expect(story.answer.compactedReplay.map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(story.answer.liveJournal.map(({ id }) => id)).toEqual([4]);
    expect(story.answer).not.toHaveProperty('historyHasMore');
  });

  test('keeps a turn open when a prompt that never ran ends inside it', () => {
    const story = new Story();
    story.update('user_message_chunk', 'one', 'p-1');
    story.update('agent_message_chunk', 'a', 'p-1');
    story.note('turn_complete', { stopReason: 'cancelled', promptId: 'p-2' }, 'p-2');
    story.update('agent_message_chunk', 'b', 'p-1');
    expect(story.answer.compactedReplay).toEqual([]);
    expect(story.replay.openPromptId).toBe('p-1');
    expect(story.replay.terminals()).toMatchObject([{ promptId: 'p-2', terminal: 'cancelled' }]);
  });

  test('takes the next question for the end of a turn that has none', () => {
    const story = new Story({ isRecorded: false });
    for (const number of [1, 2]) {
      story.update('user_message_chunk', `question ${number}, block 1`);
      story.update('user_message_chunk', `question ${number}, block 2`);
      story.update('agent_message_chunk', 'a');
    }
    expect(story.answer.compactedReplay).toHaveLength(3);
    expect(story.answer.liveJournal).toHaveLength(3);
  });

  test('shows what is open in the journal: questions too, and drops them with the turn', () => {
    const story = new Story();
    story.update('user_message_chunk', 'q', 'p-1');
    story.note('permission_request', { requestId: 'r' });
    expect(typesOf(story.answer.liveJournal)).toEqual(['session_update', 'permission_request']);
    story.note('turn_complete', { stopReason: 'end_turn' }, 'p-1');
    expect(typesOf(story.answer.compactedReplay)).toEqual(['session_update', 'turn_complete']);
    expect(story.answer.liveJournal).toEqual([]);
  });

  test('merges the chunks of one text with everybody’s notes, and those of two turns, kinds or messages not', () => {
    const story = new Story();
    const chunk = (text: string, extras: object) =>
      story.note('session_update', {
        update: { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text }, ...extras },
      });
    chunk('a', { _meta: { x: 1 } });
    chunk('b', { _meta: { usage: 2 } });
    chunk('c', { messageId: 'm' });
    story.update('agent_thought_chunk', 'd');
    expect(story.answer.liveJournal.map(({ data }) => (data as { update: object }).update)).toMatchObject([
      { content: { text: 'ab' }, _meta: { x: 1, usage: 2 } },
      { content: { text: 'c' }, messageId: 'm' },
      { content: { text: 'd' } },
    ]);
  });

  test('remembers the last 64 ends of prompts', () => {
    const story = new Story();
    for (let i = 1; i <= 70; i++) story.turn(i);
    story.note('turn_error', { promptId: 'p-71', code: 'channel_closed', message: 'x' }, 'p-71');
    const terminals = story.replay.terminals();
    expect(terminals).toHaveLength(64);
    expect(terminals[0]).toEqual({
      v: 1,
      promptId: 'p-8',
      terminal: 'completed',
      stopReason: 'end_turn',
      at: 0,
    });
    expect(terminals.at(-1)).toEqual({
      v: 1,
      promptId: 'p-71',
      terminal: 'error',
      code: 'channel_closed',
      at: 0,
    });
  });
});

describe('a replay over its bounds', () => {
  test('drops its oldest turns and says how many, and where to read on', () => {
    const story = new Story({ compactedReplayMaxBytes: 3000 });
    for (let i = 1; i <= 30; i++) story.turn(i);
    const { compactedReplay, historyHasMore, historyAnchorRecordId } = story.answer;
    const [notice, first] = compactedReplay;
    const dropped = (first?.id ?? 0) - 1;
    expect(dropped).toBeGreaterThan(30);
    expect(notice).toEqual({
      v: 1,
      type: 'history_truncated',
      data: {
        reason: 'replay_window_exceeded',
        truncatedEvents: dropped,
        truncatedTurns: dropped / 3,
        retainedEvents: compactedReplay.length - 1,
        maxBytes: 3000,
        recordId: String(first?.id),
        fullTranscriptAvailable: true,
      },
      _meta: { serverTimestamp: 0 },
    });
    expect(historyHasMore).toBe(true);
    expect(historyAnchorRecordId).toBe(String(first?.id));
  });

  test('says whether the transcript has what it dropped', () => {
    let isTranscriptWhole = true;
    const story = new Story({
      compactedReplayMaxBytes: 3000,
      isTranscriptWhole: () => isTranscriptWhole,
    });
    for (let i = 1; i <= 30; i++) story.turn(i);
    expect(story.answer.compactedReplay[0]?.data).toMatchObject({ fullTranscriptAvailable: true });
    isTranscriptWhole = false;
    expect(story.answer.compactedReplay[0]?.data).toMatchObject({ fullTranscriptAvailable: false });
  });

  test('keeps the end of a turn that alone is too large', () => {
    const story = new Story({ compactedReplayMaxBytes: 3000 });
    for (let i = 0; i < 100; i++)
      story.note('session_update', { update: { sessionUpdate: 'tool_call', i } }, 'p-1');
    story.note('turn_complete', { stopReason: 'end_turn' }, 'p-1');
    const { compactedReplay } = story.answer;
    expect(compactedReplay.length).toBeGreaterThan(10);
    expect(compactedReplay.at(-1)?.type).toBe('turn_complete');
    expect(compactedReplay[0]?.data).toMatchObject({ truncatedEvents: 101 - (compactedReplay.length - 1) });
  });

  test('cuts the journal in front and says so there', () => {
    const story = new Story({ maxJournalEvents: 64 });
    for (let i = 0; i < 200; i++)
      story.note('session_update', { update: { sessionUpdate: 'tool_call', i } }, 'p-1');
    const { liveJournal } = story.answer;
    const retained = liveJournal.slice(1);
    expect(retained.length).toBeLessThanOrEqual(64);
    expect(retained.at(-1)?.id).toBe(200);
    expect(liveJournal[0]).toMatchObject({
      type: 'history_truncated',
      data: {
        scope: 'live_journal',
        truncatedEvents: 200 - retained.length,
        retainedEvents: retained.length,
        maxEvents: 64,
        recordId: String(retained[0]?.id),
      },
    });
  });

  test('counts a text of any number of chunks as one event of the journal', () => {
    const story = new Story({ maxJournalEvents: 16 });
    for (let i = 0; i < 5000; i++) story.update('agent_message_chunk', 'x', 'p-1');
    expect(story.answer.liveJournal).toHaveLength(1);
    expect(story.answer.liveJournal[0]?.data).toMatchObject({
      update: { content: { text: 'x'.repeat(5000) } },
    });
  });
});

describe('a page', () => {
  test('holds the newest records, without ids', () => {
    const story = new Story();
    for (let i = 1; i <= 5; i++) story.turn(i);
    const { compactedReplay, ...rest } = story.replay.answer({ ...QUERY, pageSize: 4 }, 0);
    expect(typesOf(compactedReplay)).toEqual([
      'turn_complete',
      'session_update',
      'session_update',
      'turn_complete',
    ]);
    expect(compactedReplay.every(({ id }) => id === undefined)).toBe(true);
    expect(rest).toMatchObject({ historyHasMore: true, historyAnchorRecordId: '12' });
  });
});

test('whatever is said in whatever order, replay and journal together are the transcript', () => {
  const event = fc.oneof(
    fc.record({
      kind: fc.constantFrom(
        'user_message_chunk',
        'agent_message_chunk',
        'agent_thought_chunk',
        'plan',
        'usage_update',
      ),
      prompt: fc.integer({ min: 1, max: 3 }),
    }),
    fc.record({
      end: fc.constantFrom('turn_complete', 'turn_error'),
      prompt: fc.integer({ min: 1, max: 3 }),
    }),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (told) => {
      const story = new Story();
      for (const one of told) {
        const promptId = `p-${one.prompt}`;
        if ('end' in one) story.note(one.end, { promptId }, promptId);
        else story.update(one.kind, 'x', promptId);
      }
      const { compactedReplay, liveJournal } = story.answer;
      const shown = [...compactedReplay, ...liveJournal].filter(({ type, data }) =>
        isOfTranscript(type, data),
      );
      const lengthOf = (events: readonly { data: unknown }[]) =>
        events.map(
          ({ data }) =>
            ((data as { update?: { content?: { text: string } } }).update?.content?.text ?? '').length,
        );
      const whole = mergeTexts(story.events.filter(({ type, data }) => isOfTranscript(type, data)));
      // A text may be cut where a turn ends, never lost or told twice.
      const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
      expect(sum(lengthOf(shown))).toBe(sum(lengthOf(whole)));
      const ids = [...compactedReplay, ...liveJournal].map(({ id }) => id ?? 0);
      expect(ids).toEqual([...ids].sort((a, b) => a - b));
      expect(new Set(ids).size).toBe(ids.length);
    }),
    { numRuns: 300 },
  );
});
