// Prompts whose end was written down by a daemon that died before the coordinator had stored it: nobody is told twice how they
// ended, and what was never reported is.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { PromptTerminal } from '../../daemon/domain/prompt-terminal.ts';
import { isBack, killDaemon, startDormant, streamAll } from '../support/dormant-sessions.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server } from '../support/fleet-process.ts';
import { Scratch, signalPid } from '../support/scratch.ts';
import { rowsOf } from '../support/state-database.ts';
import { call, clientHeader, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

/** Long enough that a test is in time for what happens while the agent loads. */
const LOAD_MS = 1500;

interface Line {
  readonly type?: string;
  readonly promptId?: string;
}

/** Who keeps the session's transcript: its daemon, or the agent. */
const KEEPERS = ['the daemon', 'the agent'] as const;

/** A coordinator whose sessions' transcripts are kept there. */
function startKept(keeper: (typeof KEEPERS)[number], switches: readonly string[], before?: Server) {
  const scratch = before?.scratch ?? new Scratch(1);
  const memory = join(scratch.dir, 'memory');
  mkdirSync(memory, { recursive: true });
  const kept = keeper === 'the daemon' ? [] : ['--memory', memory, '--transcripts'];
  return startDormant([...kept, ...switches], ['--restore-concurrency', '1'], { scratch });
}

/** The ends that the daemon has written down of the session. */
function endsOnDisk({ stateDir }: Server, sessionId: string): Line[] {
  const files = (readdirSync(stateDir, { recursive: true }) as string[]).filter(
    (name) => basename(name) === `${sessionId}.jsonl`,
  );
  const lines = files.flatMap((name) => readFileSync(join(stateDir, name), 'utf8').split('\n').slice(0, -1));
  return lines
    .map((line) => JSON.parse(line) as Line)
    .filter(({ type }) => type === 'turn_complete' || type === 'turn_error');
}

/** A session with a prompt that the coordinator has stored as running. */
async function withRunning(server: Server, text: string) {
  const session = await newSession(server.baseUrl);
  const { promptId } = await sendPrompt(server.baseUrl, session.sessionId, text, session.clientId);
  const isStored = () =>
    rowsOf(server.stateDir, "SELECT * FROM prompts WHERE prompt_id = ? AND state = 'running'", promptId).at(
      0,
    );
  await eventually('the prompt in the database', isStored);
  return { ...session, promptId };
}

/** Waits for a daemon that is not `deadPid` and has its agent: that only starts for a restore, and loads from then on. */
async function nextLoading(server: Server, deadPid: number | null): Promise<number> {
  return eventually('the next daemon, restoring', async () => {
    const { pid, agent } = await server.diagnosis(0);
    return pid !== null && pid !== deadPid && agent !== null && pid;
  });
}

/** Stops the coordinator for as long as that takes, then kills the daemon, then it: what the daemon told is read by nobody. */
async function killedUnheard<T>(server: Server, daemonPid: number | null, takes: Promise<T>): Promise<T> {
  server.signal('SIGSTOP');
  try {
    return await takes;
  } finally {
    signalPid(daemonPid, 'SIGKILL');
    await server.kill();
  }
}

/** How the prompt ended, as its clients are told now: by the events of the bus, and to one that loads the session. */
async function toldOf(
  server: Server,
  { sessionId, clientId, promptId }: Awaited<ReturnType<typeof withRunning>>,
) {
  await isBack(server, sessionId, clientId);
  const stream = await streamAll(server, sessionId);
  await stream.frame('the end of the replay', ({ event }) => event === 'replay_complete');
  const codes = stream.ofType('turn_error').filter((event) => event.promptId === promptId);
  stream.close();
  const { json } = await call(server.baseUrl, 'POST', `/session/${sessionId}/load`, {
    headers: clientHeader(clientId),
    json: {},
  });
  const { promptTerminals = [] } = json as { promptTerminals?: readonly PromptTerminal[] };
  const ends = promptTerminals.filter((end) => end.promptId === promptId);
  const row = rowsOf(server.stateDir, 'SELECT state, outcome FROM prompts WHERE prompt_id = ?', promptId)[0];
  return {
    onBus: codes.map(({ data }) => (data as { code: string }).code),
    inPast: ends.map(({ terminal }) => terminal),
    stored: `${row?.state} ${row?.outcome}`,
  };
}

describe.each(KEEPERS)(
  'where %s keeps transcripts, a daemon that dies before the coordinator has heard',
  (keeper) => {
    test('that it reported lost prompts: the next one reports only those that were not', async () => {
      const server = await startKept(keeper, ['--slow-load', String(LOAD_MS)]);
      const sessions = [await withRunning(server, 'hang'), await withRunning(server, 'hang')];
      const { pid } = await server.diagnosis(0);
      await killDaemon(server);
      const second = await nextLoading(server, pid);
      // It hears nothing of the first session's report, and does not ask for the second one.
      const isReported = ({ sessionId }: { sessionId: string }) => endsOnDisk(server, sessionId).length > 0;
      const report = eventually('a report', () => sessions.find(isReported));
      const reported = await killedUnheard(server, second, report);
      const others = sessions.filter((session) => session !== reported);
      expect(others.map(isReported)).toEqual([false]);
      const after = await startKept(keeper, [], server);
      expect(await toldOf(after, reported)).toEqual({
        onBus: [],
        inPast: ['interrupted'],
        stored: 'failed daemon_restarted',
      });
      for (const session of others)
        expect(await toldOf(after, session)).toEqual({
          onBus: ['daemon_restarted'],
          inPast: ['interrupted'],
          stored: 'failed daemon_restarted',
        });
    });

    test('that a prompt completed: it is stored as completed, and not reported', async () => {
      const server = await startKept(keeper, []);
      const session = await withRunning(server, 'sleep:1800 ; done');
      const { pid } = await server.diagnosis(0);
      const end = eventually('the end on disk', () => endsOnDisk(server, session.sessionId).length > 0);
      await killedUnheard(server, pid, end);
      const after = await startKept(keeper, [], server);
      expect(await toldOf(after, session)).toEqual({
        onBus: [],
        inPast: ['completed'],
        stored: 'completed end_turn',
      });
    });
  },
);

test('a coordinator that dies while a session comes back has its prompt reported once', async () => {
  const server = await startDormant(['--slow-load', String(LOAD_MS)]);
  const session = await withRunning(server, 'hang');
  const { pid } = await server.diagnosis(0);
  await killDaemon(server);
  const second = await nextLoading(server, pid);
  await server.kill();
  // It takes the daemon over and asks for the session again, while the agent still loads it.
  const after = await startDormant(['--slow-load', String(LOAD_MS)], [], { scratch: server.scratch });
  expect(await toldOf(after, session)).toEqual({
    onBus: ['daemon_restarted'],
    inPast: ['interrupted'],
    stored: 'failed daemon_restarted',
  });
  expect((await after.diagnosis(0)).pid).toBe(second);
});
