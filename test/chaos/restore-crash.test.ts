// A daemon dies under its clients: its sessions come back by themselves, under their ids, for the clients that they had.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { DaemonClient, type DaemonEvent, DaemonSessionClient } from '@qwen-code/sdk/daemon';
import {
  becomes,
  heartbeat,
  isBack,
  killDaemon,
  sessionRow,
  startDormant,
  streamAll,
} from '../support/dormant-sessions.ts';
import { eventually, within } from '../support/eventually.ts';
import { endFleets, type Server, stubAgent } from '../support/fleet-process.ts';
import { Scratch } from '../support/scratch.ts';
import { streamFrom } from '../support/sse-stream.ts';
import { rowsOf } from '../support/state-database.ts';
import { call, clientHeader, createSession, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

/** A stock client that reads for ever: where a stream ends it subscribes again, where it is told to resync it loads. */
class StockReader {
  readonly events: DaemonEvent[] = [];
  resyncs = 0;
  readonly #client: DaemonClient;
  readonly #abort = new AbortController();
  #session: DaemonSessionClient;

  constructor(client: DaemonClient, session: DaemonSessionClient) {
    this.#client = client;
    this.#session = session;
  }

  async run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      // Refused while the session is on its way back, or cut: both mean to come again.
      await this.#readOnce().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  stop(): void {
    this.#abort.abort();
  }

  get ids(): number[] {
    return this.events.flatMap(({ id }) => (id === undefined ? [] : [id]));
  }

  get texts(): string[] {
    return this.events.flatMap(({ type, data }) => {
      const update = (data as { update?: { sessionUpdate?: string; content?: { text?: string } } }).update;
      return type === 'session_update' && update?.sessionUpdate === 'agent_message_chunk'
        ? [update.content?.text ?? '']
        : [];
    });
  }

  async #readOnce(): Promise<void> {
    for await (const event of this.#session.events({ signal: this.#abort.signal })) {
      this.events.push(event);
      if (event.type !== 'state_resync_required') continue;
      this.resyncs += 1;
      const { sessionId, clientId } = this.#session;
      this.#session = await DaemonSessionClient.load(this.#client, sessionId, {}, clientId);
      return;
    }
  }
}

async function asked(server: Server, sessionId: string, text: string, clientId?: string) {
  return eventually('an admitted prompt', () =>
    sendPrompt(server.baseUrl, sessionId, text, clientId).catch(() => false as const),
  );
}

describe('a daemon that is killed', () => {
  test('twice under a stock client at event 500: it sees every later event once', async () => {
    const server = await startDormant();
    const client = new DaemonClient({ baseUrl: server.baseUrl });
    const session = await DaemonSessionClient.createOrAttach(client, { sessionScope: 'thread' });
    const reader = new StockReader(client, session);
    const reading = reader.run();
    await asked(server, session.sessionId, 'N:500:50');
    await eventually(
      '500 events',
      () => reader.ids.length >= 500 && reader.events.some(({ type }) => type === 'turn_complete'),
    );
    const before = reader.ids.at(-1) ?? 0;
    for (const word of ['first', 'second']) {
      await killDaemon(server);
      await isBack(server, session.sessionId, session.clientId ?? '');
      const resyncs = word === 'first' ? 1 : 2;
      await eventually('the resync', () => reader.resyncs === resyncs);
      await asked(server, session.sessionId, `${word} ; N:40:50`);
      await eventually(`the turn after the ${word} kill`, () => reader.texts.includes(`echo: ${word}`));
    }
    await eventually(
      'the last turn',
      () => reader.events.filter(({ type }) => type === 'turn_complete').length === 3,
    );
    reader.stop();
    await reading;
    expect(reader.ids).toEqual([...new Set(reader.ids)].sort((a, b) => a - b));
    expect(Math.min(...reader.ids.filter((id) => id > before))).toBeGreaterThan(10_000);
    expect(reader.texts.filter((text) => text.startsWith('echo'))).toEqual(['echo: first', 'echo: second']);
    expect(
      reader.texts.filter((text) => /^\d+@/.test(text)).map((text) => Number.parseInt(text, 10)),
    ).toEqual([...[500, 40, 40].flatMap((count) => Array.from({ length: count }, (_value, index) => index))]);
  });

  test('keeps client ids: heartbeats, prompts and votes of before go on', async () => {
    const server = await startDormant();
    const { sessionId, clientId } = await newSession(server.baseUrl);
    await killDaemon(server);
    await isBack(server, sessionId, clientId);
    const prompt = await asked(server, sessionId, 'permission', clientId);
    const stream = await streamFrom(server.baseUrl, sessionId, prompt);
    const { requestId } = (await stream.event('permission_request')).data as { requestId: string };
    const vote = await call(server.baseUrl, 'POST', `/session/${sessionId}/permission/${requestId}`, {
      headers: clientHeader(clientId),
      json: { outcome: { outcome: 'selected', optionId: 'allow' } },
    });
    expect(vote.status).toBe(200);
    expect((await stream.event('permission_resolved')).originatorClientId).toBe(clientId);
    expect((await stream.settled(prompt.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect((await heartbeat(server, sessionId, 'never-registered')).status).toBe(400);
    stream.close();
  });

  test('gives the shared session back its slot: a create attaches to it', async () => {
    const server = await startDormant();
    const first = await createSession(server.baseUrl);
    await newSession(server.baseUrl);
    await killDaemon(server);
    const next = await eventually('a create', () =>
      createSession(server.baseUrl).catch(() => false as const),
    );
    expect(next).toMatchObject({ sessionId: first.sessionId, attached: true });
    expect(rowsOf(server.stateDir, 'SELECT * FROM sessions')).toHaveLength(2);
  });

  test('reports the prompts that it took with it once, and sends none of them again', async () => {
    const scratch = new Scratch(1);
    const memory = join(scratch.dir, 'memory');
    mkdirSync(memory);
    const server = await startDormant(['--memory', memory], [], { scratch });
    const { sessionId, clientId } = await newSession(server.baseUrl);
    const running = await sendPrompt(server.baseUrl, sessionId, 'N:100000:50:5', clientId);
    const queued = await sendPrompt(server.baseUrl, sessionId, 'never asked', clientId);
    await eventually(
      'both in the database',
      () => rowsOf(server.stateDir, 'SELECT * FROM prompts').length === 2,
    );
    await killDaemon(server);
    await isBack(server, sessionId, clientId);
    const after = await sendPrompt(server.baseUrl, sessionId, 'afterwards', clientId);
    const stream = await streamAll(server, sessionId);
    await stream.settled(after.promptId);
    expect(stream.ofType('turn_error').map(({ data }) => data)).toEqual([
      expect.objectContaining({ promptId: running.promptId, code: 'daemon_restarted' }),
      expect.objectContaining({ promptId: queued.promptId, code: 'daemon_restarted' }),
    ]);
    const asks = readdirSync(memory)
      .flatMap((name) => readFileSync(join(memory, name), 'utf8').split('\n').filter(Boolean))
      .map((line) => JSON.parse(line) as { sessionUpdate: string; content: { text: string } })
      .filter(({ sessionUpdate }) => sessionUpdate === 'user_message_chunk');
    expect(asks.map(({ content }) => content.text)).toEqual(['N:100000:50:5', 'afterwards']);
    stream.close();
  });

  test('whose agent cannot load closes its sessions, and says so on their streams', async () => {
    const server = await startDormant([], [], { agent: stubAgent() });
    const { sessionId } = await newSession(server.baseUrl);
    const prompt = await sendPrompt(server.baseUrl, sessionId, 'hang');
    const stream = await streamFrom(server.baseUrl, sessionId, prompt);
    await stream.event('session_update');
    await killDaemon(server);
    expect(await within('the end of the stream', 20_000, stream.end)).toBe('ended');
    expect(stream.envelopes.at(-1)).toMatchObject({
      type: 'stream_error',
      data: { error: expect.stringMatching(/\w+ \w+/), errorKind: 'daemon_died', resumable: false },
    });
    await becomes(server, sessionId, 'closed');
    expect(sessionRow(server, sessionId)).toMatchObject({ end_reason: 'daemon_died' });
    expect((await call(server.baseUrl, 'GET', `/session/${sessionId}/status`)).json).toMatchObject({
      code: 'session_not_found',
    });
  });
});
