// kill -9 of a daemon in the middle of a recording, at random points: what a client has seen is in the transcript.
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { systemClock } from '../../daemon/contract/clock.ts';
import { createLog } from '../../daemon/contract/log.ts';
import { isOfTranscript } from '../../daemon/domain/transcript.ts';
import type { History } from '../../daemon/history/history.ts';
import { createHistoryStore } from '../../daemon/history/store.ts';
import { endFleets, type Server, startDaemon, stubAgent } from '../support/fleet-process.ts';
import { Scratch } from '../support/scratch.ts';
import { seeded } from '../support/seeded.ts';
import { openStream } from '../support/sse-stream.ts';
import { newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

/** 15 kills by default; QWEN_TEST_SCALE=200 for the long run. */
const KILLS = Number(process.env.QWEN_TEST_SCALE ?? 15);
const SEED = 20_261_120;
const SESSIONS = 3;
/** Small enough that files are compacted under the kills. */
const FLAGS = ['--recording-max-bytes', '65536', '--state-dir'];

function historyIn(stateDir: string): History {
  return createHistoryStore({
    dir: join(stateDir, 'sessions'),
    clock: systemClock,
    log: createLog('test', 'silent'),
    maxBytesPerSession: 65_536,
  });
}

/** Follows sessions that are being flooded, kills the daemon after `delayMs`, and returns what the clients had seen. */
async function seenBeforeKill(server: Server, delayMs: number) {
  const followed = [];
  for (let i = 0; i < SESSIONS; i++) {
    const { sessionId, clientId } = await newSession(server.baseUrl);
    const stream = await openStream(server.baseUrl, sessionId);
    followed.push({ sessionId, stream });
    await sendPrompt(server.baseUrl, sessionId, 'N:100000:40', clientId);
  }
  await new Promise((resolve) => setTimeout(resolve, delayMs));
  await server.kill();
  await Promise.all(followed.map(({ stream }) => stream.end));
  return followed.map(({ sessionId, stream }) => ({
    sessionId,
    seen: stream.envelopes.filter(({ id, type, data }) => id !== undefined && isOfTranscript(type, data)),
  }));
}

const numberIn = (data: unknown) =>
  (data as { update?: { content?: { text?: string } } }).update?.content?.text ?? '';

test(`every transcript reads after ${KILLS} kills, and what a client has seen is in it`, async () => {
  const random = seeded(SEED);
  const scratch = new Scratch(1);
  let lost = 0;
  let seenInAll = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const stateDir = join(scratch.dir, `state-${kill}`);
    mkdirSync(stateDir);
    const server = await startDaemon({ agent: stubAgent('--load'), scratch, flags: [...FLAGS, stateDir] });
    const followed = await seenBeforeKill(server, 20 + random() * 180);
    const history = historyIn(stateDir);
    expect(history.list()).toHaveLength(SESSIONS);
    for (const { sessionId, seen } of followed) {
      const transcript = await history.read(sessionId);
      expect(transcript).toMatchObject({ isPartial: false });
      const newest = seen.at(-1);
      seenInAll += seen.length;
      // Texts may have been merged, so the newest chunk is looked for in the text.
      const text = transcript?.records.map(({ data }) => numberIn(data)).join('') ?? '';
      if (newest !== undefined && !text.includes(numberIn(newest.data))) lost += 1;
    }
    expect(readdirSync(join(stateDir, 'sessions')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  }
  expect(seenInAll).toBeGreaterThan(KILLS * 100);
  expect(lost).toBe(0);
}, 600_000);

test('a killed daemon’s session is loaded, its lost prompt told once, and its transcript goes on', async () => {
  const server = await startDaemon({ agent: stubAgent('--load') });
  const { sessionId, clientId } = await newSession(server.baseUrl);
  const { promptId } = await sendPrompt(server.baseUrl, sessionId, 'N:100000:40:1', clientId);
  const stream = await openStream(server.baseUrl, sessionId);
  await stream.event('session_update');
  await server.kill();
  const again = await startDaemon({ agent: stubAgent('--load'), scratch: server.scratch });
  const load = async () => {
    const response = await fetch(`${again.baseUrl}/session/${sessionId}/load`, { method: 'POST' });
    return (await response.json()) as {
      readonly compactedReplay: readonly {
        readonly type: string;
        readonly data: { readonly code?: string };
      }[];
      readonly promptTerminals: readonly object[];
    };
  };
  for (let i = 0; i < 2; i++) {
    const { compactedReplay, promptTerminals } = await load();
    const errors = compactedReplay.filter(({ type }) => type === 'turn_error');
    expect(errors.map(({ data }) => data.code)).toEqual(['daemon_restarted']);
    expect(promptTerminals).toMatchObject([{ promptId, terminal: 'interrupted', code: 'daemon_restarted' }]);
  }
});
