// A flood several times as long as those of every run.
import { afterEach, expect, test } from '@jest/globals';
import { endFleets, startDaemon } from '../support/fleet-process.ts';
import { openIdStream } from '../support/id-stream.ts';
import { newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

test('ten readers get every event of a flood of 60,000 once', async () => {
  const { baseUrl } = await startDaemon();
  const { sessionId } = await newSession(baseUrl);
  const readers = await Promise.all(Array.from({ length: 10 }, () => openIdStream(baseUrl, sessionId)));
  await sendPrompt(baseUrl, sessionId, 'N:60000:60');
  await Promise.all(readers.map((reader) => reader.rare('turn_complete', 1, 200_000)));
  for (const reader of readers) {
    // With an echo and an end.
    expect([reader.firstId, reader.lastId, reader.gaps]).toEqual([1, 60_002, []]);
    expect(reader.rareTypes).not.toContain('client_evicted');
  }
}, 240_000);
