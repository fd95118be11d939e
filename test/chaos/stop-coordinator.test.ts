// An end is asked for at a bad moment: everything goes, in order or at once, and the exit code tells which.
import { afterEach, describe, expect, test } from '@jest/globals';
import { EXIT } from '../../coordinator/cli/exit-codes.ts';
import { runCommand } from '../support/command-line.ts';
import { eventually, within } from '../support/eventually.ts';
import {
  endFleets,
  type Server,
  startCoordinator,
  startDaemon,
  stubAgent,
} from '../support/fleet-process.ts';
import { seeded } from '../support/seeded.ts';
import { streamFrom } from '../support/sse-stream.ts';
import { rowsOf } from '../support/state-database.ts';
import { call, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

const isAgent = ({ command }: { readonly command: string }) => /^\S+ \S+stub-agent\.mjs/.test(command);

function expectNothingLeft(server: Server): void {
  expect(server.scratch.processes()).toEqual([]);
}

/** A create whose answer is looked at later, whatever becomes of the connection. */
function createLater(server: Server) {
  return call(server.baseUrl, 'POST', '/session', { json: {} }).then(
    ({ status, json }) => ({ status, code: json.code }),
    (error: Error) => ({ status: 0, code: error.message }),
  );
}

/** The coordinator has heard of the prompt: the daemon's feed is behind the answer by a moment. */
function promptIsKnown(server: Server): Promise<unknown> {
  return eventually('the prompt in the database', () =>
    rowsOf(server.stateDir, 'SELECT * FROM prompts').at(0),
  );
}

test('`stop --leave-daemons` ends the coordinator alone: the turn goes on, and the next one has it', async () => {
  const server = await startCoordinator({ workspaces: 1 });
  const { sessionId } = await newSession(server.baseUrl);
  const { promptId, ...from } = await sendPrompt(server.baseUrl, sessionId, 'first ; sleep:1500 ; last');
  await promptIsKnown(server);
  const { pid } = await server.diagnosis(0);
  const stop = await runCommand(server.scratch, ['stop', '--leave-daemons', '--state-dir', server.stateDir]);
  expect(stop).toMatchObject({ code: EXIT.ok, stdout: 'stopped; its daemons keep running\n' });
  expect(await server.ended()).toEqual({ code: EXIT.left, signal: null });
  const next = await startCoordinator({ workspaces: 1, scratch: server.scratch });
  const stream = await streamFrom(next.baseUrl, sessionId, from);
  expect((await stream.settled(promptId)).data).toMatchObject({ stopReason: 'end_turn' });
  expect(stream.texts.at(-1)).toBe('echo: last');
  expect((await next.diagnosis(0)).pid).toBe(pid);
});

describe('SIGTERM to the coordinator', () => {
  test('at any moment of a daemon’s start ends all of it, and the waiting client is told', async () => {
    const random = seeded(8_128);
    for (let round = 0; round < 4; round += 1) {
      const server = await startCoordinator({ workspaces: 1, agent: stubAgent('--slow-init', '3000') });
      const create = createLater(server);
      // From before the daemon's process to the middle of its agent's handshake.
      await new Promise((resolve) => setTimeout(resolve, random() * 300));
      server.signal('SIGTERM');
      expect(await server.ended()).toEqual({ code: 0, signal: null });
      expect(await create).toEqual({ status: 503, code: expect.any(String) });
      expectNothingLeft(server);
    }
  });

  test('in a turn ends the stream plainly, the turn by name, and everything that the agent has started', async () => {
    const server = await startCoordinator();
    const { sessionId } = await newSession(server.baseUrl);
    const { promptId, ...from } = await sendPrompt(server.baseUrl, sessionId, 'setsid-child ; child ; hang');
    const stream = await streamFrom(server.baseUrl, sessionId, from);
    await eventually('two children', () => stream.texts.length === 2);
    server.signal('SIGTERM');
    expect(await server.ended()).toEqual({ code: 0, signal: null });
    expect([await stream.end, stream.unfinished]).toEqual(['ended', '']);
    // Either would end the session for good in the eyes of the stock client.
    expect(stream.types).not.toContain('stream_error');
    expect(stream.types).not.toContain('session_died');
    expect(rowsOf(server.stateDir, 'SELECT * FROM prompts WHERE prompt_id = ?', promptId)).toEqual([
      expect.objectContaining({
        state: 'failed',
        outcome: expect.any(String),
        settled_at_ms: expect.any(Number),
      }),
    ]);
    expectNothingLeft(server);
  });

  test('lets a turn end that ends in time', async () => {
    const server = await startCoordinator({ flags: ['--drain-timeout-ms', '6000'] });
    const { sessionId } = await newSession(server.baseUrl);
    const admission = await sendPrompt(server.baseUrl, sessionId, 'N:300:100:1 ; done');
    const stream = await streamFrom(server.baseUrl, sessionId, admission);
    await eventually('a turn in full flow', () => stream.texts.length > 20);
    server.signal('SIGTERM');
    expect((await stream.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect(stream.texts.at(-1)).toBe('echo: done');
    expect(await server.ended()).toEqual({ code: 0, signal: null });
    expectNothingLeft(server);
  });

  test('refuses new sessions while it drains', async () => {
    const server = await startCoordinator({ flags: ['--drain-timeout-ms', '2500'] });
    const { sessionId } = await newSession(server.baseUrl);
    await sendPrompt(server.baseUrl, sessionId, 'hang');
    await promptIsKnown(server);
    server.signal('SIGTERM');
    await eventually('the beginning of the stop', () => server.stderr.includes('stopping'));
    for (const cwd of server.workspaces) {
      const answer = await call(server.baseUrl, 'POST', '/session', { json: { cwd } });
      expect([answer.status, answer.json.code]).toEqual([503, 'daemon_draining']);
      expect(answer.headers['retry-after']).toBe('5');
    }
    expect(await server.ended()).toEqual({ code: 0, signal: null });
  });

  // A turn that waits for a vote cannot end in time where the vote does not get through.
  test('lets votes and returning streams through to the turns that it waits for', async () => {
    const server = await startCoordinator({ flags: ['--drain-timeout-ms', '6000'] });
    const { sessionId } = await newSession(server.baseUrl);
    const admission = await sendPrompt(server.baseUrl, sessionId, 'permission ; done');
    const first = await streamFrom(server.baseUrl, sessionId, admission);
    const { requestId } = (await first.event('permission_request')).data as { requestId: string };
    server.signal('SIGTERM');
    await eventually('the beginning of the stop', () => server.stderr.includes('stopping'));
    first.close();
    const stream = await streamFrom(server.baseUrl, sessionId, admission);
    const path = `/session/${sessionId}/permission/${requestId}`;
    const vote = { json: { outcome: { outcome: 'selected', optionId: 'allow' } } };
    expect((await call(server.baseUrl, 'POST', path, vote)).status).toBe(200);
    expect((await stream.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect(await server.ended()).toEqual({ code: 0, signal: null });
  });

  test('ends an agent that ignores it, and what that has started', async () => {
    const server = await startCoordinator({ agent: stubAgent('--ignore-term') });
    const { sessionId } = await newSession(server.baseUrl);
    const admission = await sendPrompt(server.baseUrl, sessionId, 'child ; ignore-cancel');
    const stream = await streamFrom(server.baseUrl, sessionId, admission);
    await eventually('the child', () => stream.texts.length === 1);
    server.signal('SIGTERM');
    expect(await server.ended()).toEqual({ code: 0, signal: null });
    expectNothingLeft(server);
  });
});

describe('two SIGINTs', () => {
  const STUBBORN = stubAgent('--silent-init', '--ignore-term', '--init-child');
  const PATIENT = [
    '--agent-kill-grace-ms',
    '60000',
    '--initialize-timeout-ms',
    '60000',
    '--stop-grace-ms',
    '50000',
  ];

  test('during an agent’s handshake kill the whole fleet at once, with exit code 5', async () => {
    const flags = [...PATIENT, '--stop-timeout-ms', '60000'];
    const server = await startCoordinator({ agent: STUBBORN, flags });
    const create = createLater(server);
    await eventually('the agent and its child', () => server.scratch.processes().length >= 4);
    expect(server.scratch.processes().some(isAgent)).toBe(true);
    server.signal('SIGINT');
    await eventually('the beginning of the stop', () => server.stderr.includes('stopping'));
    expect(server.exit).toBeUndefined();
    server.signal('SIGINT');
    expect(await server.ended(20_000)).toEqual({ code: 5, signal: null });
    await eventually('an empty world', () => server.scratch.processes().length === 0);
    expect((await create).status).not.toBe(200);
  });

  test('leave a state directory in which the next coordinator starts afresh', async () => {
    const server = await startCoordinator();
    const { sessionId } = await newSession(server.baseUrl);
    await sendPrompt(server.baseUrl, sessionId, 'hang');
    server.signal('SIGINT');
    server.signal('SIGINT');
    await server.ended();
    const next = await startCoordinator({ scratch: server.scratch });
    expect((await call(next.baseUrl, 'GET', `/session/${sessionId}/status`)).status).toBe(404);
    expect((await newSession(next.baseUrl)).attached).toBe(false);
  });

  test('to a bare daemon during its agent’s handshake leave nothing either', async () => {
    const flags = [
      '--agent-kill-grace-ms',
      '60000',
      '--initialize-timeout-ms',
      '60000',
      '--shutdown-grace-ms',
      '60000',
    ];
    const server = await startDaemon({ agent: STUBBORN, flags });
    const create = createLater(server);
    await eventually('the agent and its child', () => server.scratch.processes().length >= 3);
    server.signal('SIGINT');
    await eventually('the beginning of the end', () => server.stderr.includes('"ending"'));
    server.signal('SIGINT');
    expect((await server.ended(20_000)).code).toBe(1);
    await eventually('an empty world', () => server.scratch.processes().length === 0);
    await within('an end of the request', 20_000, create);
  });
});

describe('SIGHUP', () => {
  test('ends neither a coordinator nor a daemon', async () => {
    const servers = [await startCoordinator(), await startDaemon()];
    for (const server of servers) {
      server.signal('SIGHUP');
      expect((await call(server.baseUrl, 'GET', '/health')).status).toBe(200);
      expect((await newSession(server.baseUrl)).attached).toBe(false);
    }
  });
});
