// A daemon is killed in the moment in which it acknowledges prompts: each 202 that a client has read is settled in the end.
import { afterEach, expect, test } from '@jest/globals';
import { isBack, startDormant, streamAll } from '../support/dormant-sessions.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets } from '../support/fleet-process.ts';
import { signalPid } from '../support/scratch.ts';
import { rowsOf } from '../support/state-database.ts';
import { call, clientHeader, newSession } from '../support/wire-client.ts';

afterEach(endFleets);

const ROUNDS = 5;
const SESSIONS = 8;

test('a prompt that was answered 202 right before the kill is settled, and told at most once', async () => {
  const server = await startDormant([], ['--restart-max-backoff-ms', '100']);
  const sessions = await Promise.all(Array.from({ length: SESSIONS }, () => newSession(server.baseUrl)));
  let lastKillAtMs = 0;
  const acknowledged: { readonly sessionId: string; readonly promptId: string }[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const { pid } = await server.diagnosis(0);
    let isKilled = false;
    const json = { prompt: [{ type: 'text', text: 'hang' }] };
    const asks = sessions.map(async ({ sessionId, clientId }) => {
      const headers = clientHeader(clientId);
      const answer = await call(server.baseUrl, 'POST', `/session/${sessionId}/prompt`, { json, headers });
      if (!isKilled) {
        lastKillAtMs = Date.now();
        signalPid(pid, 'SIGKILL');
      }
      isKilled = true;
      if (answer.status === 202) acknowledged.push({ sessionId, promptId: String(answer.json.promptId) });
    });
    await Promise.all(asks);
    for (const { sessionId, clientId } of sessions) await isBack(server, sessionId, clientId);
  }
  expect(acknowledged.length).toBeGreaterThanOrEqual(ROUNDS);
  // One that came behind the last kill waited for the next daemon, and hangs there.
  for (const { sessionId, clientId } of sessions)
    await call(server.baseUrl, 'POST', `/session/${sessionId}/cancel`, { headers: clientHeader(clientId) });
  const known = () =>
    rowsOf(server.stateDir, 'SELECT prompt_id FROM prompts WHERE settled_at_ms IS NOT NULL').map(
      ({ prompt_id }) => prompt_id,
    );
  const missing = () => acknowledged.filter(({ promptId }) => !known().includes(promptId));
  await eventually('every acknowledged prompt to be settled', () => missing().length === 0).catch(
    () => undefined,
  );
  expect(missing()).toEqual([]);
  // What was settled before the last kill was told on a bus of before, if at all.
  const settledBefore = rowsOf(
    server.stateDir,
    'SELECT prompt_id FROM prompts WHERE settled_at_ms < ?',
    lastKillAtMs,
  ).map(({ prompt_id }) => prompt_id);
  for (const { sessionId } of sessions) {
    const stream = await streamAll(server, sessionId);
    await stream.frame('the end of the replay', ({ event }) => event === 'replay_complete');
    const ids = stream.ofType('turn_error').map(({ data }) => (data as { promptId: string }).promptId);
    expect(ids).toEqual([...new Set(ids)]);
    expect(ids.filter((id) => settledBefore.includes(id))).toEqual([]);
    stream.close();
  }
});
