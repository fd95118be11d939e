import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { asRecord } from '../../../daemon/contract/json-record.ts';
import { updateOf } from '../../../daemon/domain/transcript.ts';
import type { HistoryRecord } from '../../../daemon/history/history.ts';
import { eventually } from '../../support/eventually.ts';
import { TranscriptsKit } from './transcripts-kit.ts';

let kit = new TranscriptsKit();
afterEach(() => {
  kit.remove();
  kit = new TranscriptsKit();
});

const textOf = (record: HistoryRecord) => asRecord(updateOf(record.data).content).text;

describe('a recorded session', () => {
  test('reads back as it was noted, in order, each record with an id of its own', async () => {
    const store = kit.store();
    kit.turn(kit.begin(store), 1);
    const transcript = await store.read('s-1');
    expect(transcript?.records.map(({ type }) => type)).toEqual([
      'session_update',
      'session_update',
      'session_update',
      'session_update',
      'turn_complete',
    ]);
    expect(transcript?.records[0]).toMatchObject({ recordId: '1', promptId: 'p-1', atMs: kit.clock.nowMs() });
    expect(transcript?.isPartial).toBe(false);
  });

  test('holds nothing that the next report replaces', async () => {
    const store = kit.store();
    const recording = kit.begin(store);
    for (const kind of ['available_commands_update', 'current_mode_update', 'usage_update'])
      kit.note(recording, 'session_update', { sessionId: 's-1', update: { sessionUpdate: kind } });
    kit.note(recording, 'model_switched', { sessionId: 's-1', modelId: 'm' });
    recording.flush();
    expect((await store.read('s-1'))?.records).toEqual([]);
  });

  test('is on disk after a flush, before anything is closed', () => {
    const recording = kit.begin(kit.store());
    kit.update(recording, 'agent_message_chunk', 'noted');
    expect(kit.text).not.toContain('noted');
    recording.flush();
    expect(kit.text).toContain('noted');
  });

  test('goes on above its highest id when it is opened again', () => {
    const recording = kit.begin(kit.store());
    kit.turn(recording, 1);
    kit.note(recording, 'model_switched', {});
    recording.close();
    expect(kit.begin(kit.store()).lastId).toBe(6);
  });

  test('keeps what it says of itself over restarts', () => {
    const first = kit.store();
    const recording = kit.begin(first, 's-1', { sourceType: 'ide' });
    recording.change({ displayName: 'A name', titleSource: 'manual' });
    recording.close();
    first.setArchived('s-1', true);
    expect(kit.store().find('s-1')).toMatchObject({
      sessionId: 's-1',
      displayName: 'A name',
      sourceType: 'ide',
      isArchived: true,
    });
  });

  test('says so when it was neither closed in order nor listed before', () => {
    const recording = kit.begin(kit.store());
    kit.turn(recording, 1);
    recording.change({ displayName: 'early' });
    for (let i = 2; i < 200; i++) kit.turn(recording, i, 10, 100);
    expect(kit.store().list()).toMatchObject([{ sessionId: 's-1', displayName: 'early' }]);
  });
});

describe('the file of a transcript', () => {
  test('belongs to its owner alone', () => {
    kit.begin(kit.store());
    expect(statSync(kit.dir).mode & 0o777).toBe(0o700);
    expect(statSync(kit.files[0] as string).mode & 0o777).toBe(0o600);
  });

  test.each([
    ['a path', '../../etc/passwd'],
    ['a dot', '.'],
    ['thousands of characters', 'x'.repeat(5000)],
    ['a zero byte', 'nul\0'],
    ['upper case', 'UPPER'],
  ])('stays in its directory whatever id an agent chooses: %s', (_what, id) => {
    const store = kit.store();
    kit.turn(kit.begin(store, id), 1);
    kit.begin(store, 'other');
    expect(readdirSync(kit.dir)).toHaveLength(2);
    expect(kit.store().find(id)?.sessionId).toBe(id);
  });

  test('loses a torn last line, and nothing else, wherever it was torn', async () => {
    const recording = kit.begin(kit.store());
    kit.turn(recording, 1);
    const whole = kit.text;
    const lastLine = whole.trimEnd().lastIndexOf('\n') + 1;
    for (let cut = lastLine; cut < whole.length; cut += 7) {
      kit.text = whole.slice(0, cut);
      const again = kit.begin(kit.store());
      expect(again.lastId).toBe(4);
      kit.update(again, 'agent_message_chunk', 'behind the tear');
      again.close();
      const transcript = await kit.store().read('s-1');
      expect(transcript?.isPartial).toBe(false);
      expect(transcript?.records).toHaveLength(5);
      expect(textOf(transcript?.records.at(-1) as HistoryRecord)).toBe('behind the tear');
    }
  });

  test('is read around an unreadable line, and called partial', async () => {
    kit.turn(kit.begin(kit.store()), 1);
    const lines = kit.text.split('\n');
    lines[3] = lines[3]?.slice(0, 20) ?? '';
    kit.text = lines.join('\n');
    const transcript = await kit.store().read('s-1');
    expect(transcript?.isPartial).toBe(true);
    expect(transcript?.records).toHaveLength(4);
  });

  test('is ignored when it is no transcript', () => {
    kit.begin(kit.store()).close();
    writeFileSync(join(kit.dir, 'stray.jsonl'), 'nonsense\n');
    writeFileSync(join(kit.dir, 'empty.jsonl'), '');
    expect(kit.store().list()).toHaveLength(1);
  });
});

describe('a store', () => {
  test('lists thousands of sessions newest first without reading them again', () => {
    const store = kit.store();
    for (let i = 0; i < 2000; i++) {
      kit.clock.advance(1);
      kit.begin(store, `s-${i}`).close();
    }
    const fresh = kit.store();
    expect(fresh.list()).toHaveLength(2000);
    rmSync(kit.dir, { recursive: true });
    const listed = fresh.list();
    expect(listed[0]?.sessionId).toBe('s-1999');
    expect(listed.at(-1)?.sessionId).toBe('s-0');
  });

  test('keeps its listing in step with what it does', () => {
    const store = kit.store();
    expect(store.list()).toEqual([]);
    const recording = kit.begin(store);
    recording.change({ displayName: 'renamed' });
    expect(store.list()).toMatchObject([{ displayName: 'renamed', isArchived: false }]);
    expect(store.setArchived('s-1', true)).toBe(true);
    expect(store.setArchived('s-1', true)).toBe(false);
    recording.close();
    expect(store.list()).toMatchObject([{ isArchived: true }]);
    expect(store.remove('s-1')).toBe(true);
    expect(store.remove('s-1')).toBe(false);
    expect(store.list()).toEqual([]);
    expect(kit.files).toEqual([]);
  });

  test('knows nothing of an id that was never recorded', async () => {
    const store = kit.store();
    expect(store.find('s-9')).toBeUndefined();
    expect(await store.read('s-9')).toBeUndefined();
    expect(store.setArchived('s-9', true)).toBe(false);
  });
});

describe('a failing disk', () => {
  test('degrades the recording once and never throws', () => {
    writeFileSync(join(kit.dir, '..', 'sessions'), 'in the way of the directory');
    const recording = kit.begin(kit.store());
    kit.turn(recording, 1);
    recording.change({ displayName: 'x' });
    expect(recording.isWhole).toBe(false);
    recording.close();
    recording.close();
    expect(kit.degraded).toBe(1);
  });

  test('leaves what was written before', async () => {
    const store = kit.store();
    const recording = kit.begin(store);
    kit.turn(recording, 1);
    const path = kit.files[0] as string;
    const before = readFileSync(path, 'utf8');
    recording.close();
    // A directory in the file's place stops root too.
    rmSync(path);
    mkdirSync(path);
    kit.turn(kit.begin(store), 2);
    expect(kit.degraded).toBe(1);
    rmSync(path, { recursive: true });
    writeFileSync(path, before);
    expect((await kit.store().read('s-1'))?.records).toHaveLength(5);
  });
});

describe('a transcript over its bound', () => {
  const LIMIT = 40_000;
  const isCompacted = () => statSync(kit.files[0] as string).size < LIMIT && kit.files.length === 1;

  test('gets its chunks merged and loses nothing while that suffices', async () => {
    kit = new TranscriptsKit(LIMIT);
    const store = kit.store();
    const recording = kit.begin(store);
    kit.turn(recording, 1, 400, 5);
    await eventually('the compaction', () => (isCompacted() ? true : undefined));
    kit.turn(recording, 2);
    const transcript = await store.read('s-1');
    expect(transcript?.records).toHaveLength(3 + 5);
    expect(textOf(transcript?.records[1] as HistoryRecord)).toBe(
      Array.from({ length: 400 }, (_, i) => `${i}xxxxx`).join(''),
    );
    expect(transcript).toMatchObject({ isPartial: false, droppedTurns: 0 });
    expect(recording.isWhole).toBe(true);
  });

  test('then loses its oldest turns, whole, and says how many', async () => {
    kit = new TranscriptsKit(LIMIT);
    const store = kit.store();
    const recording = kit.begin(store);
    for (let i = 1; i <= 60; i++) {
      kit.turn(recording, i, 2, 1000);
      await eventually('the compaction', () => (isCompacted() ? true : undefined));
    }
    const dropped = (await store.read('s-1'))?.droppedTurns ?? 0;
    expect(dropped).toBeGreaterThan(20);
    expect(recording.isWhole).toBe(false);
    recording.close();
    const again = kit.begin(kit.store());
    expect(again.isWhole).toBe(false);
    again.close();
    const transcript = await kit.store().read('s-1');
    expect(transcript?.droppedTurns).toBe(dropped);
    expect(textOf(transcript?.records[0] as HistoryRecord)).toBe(`question ${dropped + 1}`);
    expect(transcript?.records.at(-1)?.promptId).toBe('p-60');
    const ids = transcript?.records.map(({ recordId }) => Number(recordId)) ?? [];
    expect(ids).toEqual([...ids].sort((a, b) => a - b));
  });

  test('keeps the end of a turn that alone is too large', async () => {
    kit = new TranscriptsKit(LIMIT);
    const store = kit.store();
    const recording = kit.begin(store);
    for (let i = 0; i < 100; i++)
      kit.note(recording, 'session_update', {
        sessionId: 's-1',
        update: { sessionUpdate: 'tool_call', toolCallId: `t-${i}`, title: 'x'.repeat(900) },
      });
    recording.flush();
    await eventually('the compaction', () => (isCompacted() ? true : undefined));
    const transcript = await store.read('s-1');
    expect(transcript?.droppedEvents).toBeGreaterThan(50);
    expect(updateOf(transcript?.records.at(-1)?.data).toolCallId).toBe('t-99');
  });

  test('keeps the end of one text that alone is too large, and counts what is gone', async () => {
    kit = new TranscriptsKit(LIMIT);
    const store = kit.store();
    const recording = kit.begin(store);
    for (let i = 0; i < 100; i++) kit.update(recording, 'agent_message_chunk', `${i}:${'é'.repeat(300)}`);
    recording.flush();
    await eventually('the compaction', () => (isCompacted() ? true : undefined));
    const transcript = await store.read('s-1');
    const text = transcript?.records.map(textOf).join('') ?? '';
    expect(text).toContain('99:');
    expect(Buffer.byteLength(text)).toBeGreaterThan(LIMIT / 4);
    expect(transcript).toMatchObject({ droppedTurns: 0 });
    const first = Number(/^\d+/.exec(text)?.[0]);
    const numbers = [...text.matchAll(/(\d+):/g)].map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: 100 - first }, (_, i) => first + i));
    expect(transcript?.droppedEvents).toBeGreaterThan(0);
  });

  test('may be removed while it is compacted, and stays removed', async () => {
    kit = new TranscriptsKit(LIMIT);
    const store = kit.store();
    kit.turn(kit.begin(store), 1, 400, 100);
    store.remove('s-1');
    await eventually('the end of the compaction', () => (kit.files.length === 0 ? true : undefined));
    expect(store.find('s-1')).toBeUndefined();
  });

  test('keeps what was noted while it was compacted', async () => {
    kit = new TranscriptsKit(LIMIT);
    const store = kit.store();
    const recording = kit.begin(store);
    kit.turn(recording, 1, 400, 5);
    for (let i = 2; i < 20; i++) kit.turn(recording, i);
    recording.close();
    await eventually('the compaction', () => (isCompacted() ? true : undefined));
    const transcript = await kit.store().read('s-1');
    expect(transcript?.records.filter(({ type }) => type === 'turn_complete')).toHaveLength(19);
    expect(basename(kit.files[0] as string)).not.toContain('tmp');
  });
});
