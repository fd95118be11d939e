// The stock client, unmodified, against a bare daemon and against a coordinator: it must not be able to tell them apart.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  DaemonClient,
  type DaemonEvent,
  DaemonHttpError,
  DaemonPendingPromptLimitError,
  DaemonSessionClient,
} from '@qwen-code/sdk/daemon';
import { readProcStat } from '../../daemon/contract/proc.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server } from '../support/fleet-process.ts';
import { rowsOf } from '../support/state-database.ts';
import { FLEET, TARGETS } from '../support/targets.ts';

const text = (words: string) => ({ prompt: [{ type: 'text' as const, text: words }] });
const ALLOW = { outcome: { outcome: 'selected' as const, optionId: 'allow' } };

/** Reads a session's events in the background, from its beginning. */
class Listener {
  readonly events: DaemonEvent[] = [];
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;

  constructor(session: DaemonSessionClient, lastEventId = 0) {
    const { signal } = this.#abort;
    this.#done = this.#read(session.events({ lastEventId, signal }));
  }

  get ids(): number[] {
    return this.events.flatMap(({ id }) => (id === undefined ? [] : [id]));
  }

  /** The texts of the agent's chunks. */
  get texts(): string[] {
    return this.events.flatMap(({ type, data }) => {
      if (type !== 'session_update') return [];
      const { update } = data as { update: { sessionUpdate: string; content?: { text?: string } } };
      return update.sessionUpdate === 'agent_message_chunk' ? [update.content?.text ?? ''] : [];
    });
  }

  find(type: string): Promise<DaemonEvent> {
    return eventually(`the event ${type}`, () => this.events.find((event) => event.type === type));
  }

  /** Resolves when the server has ended the stream. */
  get done(): Promise<void> {
    return this.#done;
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }

  async #read(events: AsyncIterable<DaemonEvent>): Promise<void> {
    try {
      for await (const event of events) this.events.push(event);
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
  }
}

afterAll(endFleets);

describe.each(TARGETS)('the stock client on %s', (_name, target) => {
  let server: Server;
  let client: DaemonClient;

  beforeAll(async () => {
    server = await target.start();
    client = new DaemonClient({ baseUrl: server.baseUrl });
  });

  /** A session of its own for each test, in the workspace of that place. */
  const open = (workspace = 0) =>
    DaemonSessionClient.createOrAttach(client, {
      workspaceCwd: server.workspaces[workspace] as string,
      sessionScope: 'thread',
    });
  const workspaces = () => server.workspaces.map((_path, index) => index);

  test('reads health and capabilities', async () => {
    expect(await client.health()).toEqual({ status: 'ok' });
    const capabilities = await client.capabilities();
    expect(capabilities).toMatchObject({ v: 1, mode: 'http-bridge', workspaceCwd: server.workspace });
    expect(capabilities.features).toEqual(expect.arrayContaining(['session_create', 'non_blocking_prompt']));
    expect(capabilities.workspaces?.map(({ cwd }) => cwd)).toEqual(server.workspaces);
    expect(capabilities.features.includes('multi_workspace_sessions')).toBe(target.isFleet);
  });

  test('creates the shared session once and attaches to it from then on', async () => {
    const first = await DaemonSessionClient.createOrAttach(client, { workspaceCwd: server.workspace });
    const second = await DaemonSessionClient.createOrAttach(client, {});
    expect([first.attached, second.attached]).toEqual([false, true]);
    expect(second.sessionId).toBe(first.sessionId);
    expect(second.clientId).not.toBe(first.clientId);
    await first.close();
  });

  test('a thread is a session of its own', async () => {
    const [one, other] = [await open(), await open()];
    expect(one.sessionId).not.toBe(other.sessionId);
    expect([one.attached, other.attached]).toEqual([false, false]);
    await Promise.all([one.close(), other.close()]);
  });

  test('a session gets the id that its creator chose', async () => {
    const sessionId = '6f9619ff-8b86-4d01-b42d-00c04fc964ff';
    const session = await DaemonSessionClient.createOrAttach(client, { sessionId });
    expect(session.sessionId).toBe(sessionId);
    await session.close();
  });

  test('a prompt streams the agent’s words and resolves with its stop reason', async () => {
    const session = await open();
    const listener = new Listener(session);
    // The client misses the end of a turn that it hears of before it has read the prompt's 202, so the turn waits.
    const turn = session.prompt(text('permission ; hello'));
    const { requestId } = (await listener.find('permission_request')).data as { requestId: string };
    await session.respondToSessionPermission(requestId, ALLOW);
    expect(await turn).toMatchObject({ stopReason: 'end_turn' });
    expect(listener.texts.at(-1)).toBe('echo: hello');
    await listener.close();
    await session.close();
  });

  test('a prompt without a subscription opens its own stream and resolves too', async () => {
    const session = await open();
    expect(await session.prompt(text('N:20:100'))).toMatchObject({ stopReason: 'end_turn' });
    await session.close();
  });

  test('a failed turn rejects with the agent’s words', async () => {
    const session = await open();
    await expect(session.prompt(text('error:-32000:no luck'))).rejects.toThrow('no luck');
    await session.close();
  });

  test('two clients on one session see the same events under the same ids', async () => {
    const one = await open();
    const other = new DaemonSessionClient({
      client: new DaemonClient({ baseUrl: server.baseUrl }),
      session: one.session,
    });
    const listeners = [new Listener(one), new Listener(other)];
    await one.submitPrompt(text('N:50:200'));
    await Promise.all(listeners.map((listener) => listener.find('turn_complete')));
    const [first, second] = listeners.map(({ events }) =>
      events.filter(({ id }) => id !== undefined).map(({ id, type }) => `${id} ${type}`),
    );
    expect(first).toEqual(second);
    // The echo, fifty chunks, the end.
    expect(first).toHaveLength(52);
    await Promise.all(listeners.map((listener) => listener.close()));
    await one.close();
  });

  test.each([['respondToSessionPermission'], ['respondToPermission']] as const)(
    'a permission is won by one client and lost by the other, with %s',
    async (route) => {
      for (const workspace of workspaces()) {
        const [one, other] = [await open(workspace), new DaemonClient({ baseUrl: server.baseUrl })];
        const listener = new Listener(one);
        const turn = one.prompt(text('permission'));
        const { requestId } = (await listener.find('permission_request')).data as { requestId: string };
        expect(await one[route](requestId, ALLOW)).toBe(true);
        expect(await other.respondToSessionPermission(one.sessionId, requestId, ALLOW)).toBe(false);
        expect(await other.respondToPermission(requestId, ALLOW)).toBe(false);
        expect(await turn).toMatchObject({ stopReason: 'end_turn' });
        expect(listener.texts.map((answer) => JSON.parse(answer))).toEqual([
          { result: { outcome: { outcome: 'selected', optionId: 'allow' } } },
        ]);
        expect((await listener.find('permission_resolved')).data).toMatchObject({
          requestId,
          voterClientId: one.clientId,
        });
        await listener.close();
        await one.close();
      }
    },
  );

  test('a cancelled turn resolves as cancelled', async () => {
    const session = await open();
    const listener = new Listener(session);
    const turn = session.prompt(text('hang'));
    await listener.find('session_update');
    await session.cancel();
    expect(await turn).toMatchObject({ stopReason: 'cancelled' });
    expect((await listener.find('prompt_cancelled')).data).toMatchObject({ sessionId: session.sessionId });
    await listener.close();
    await session.close();
  });

  test('a heartbeat answers when the client was seen', async () => {
    const session = await open();
    const before = Date.now();
    const beat = await session.heartbeat();
    expect(beat).toMatchObject({ sessionId: session.sessionId, clientId: session.clientId });
    expect(beat.lastSeenAt).toBeGreaterThanOrEqual(before);
    await session.close();
  });

  test('a client that left in the middle of a turn resumes without a gap and without a repetition', async () => {
    const session = await open();
    const first = new Listener(session);
    const { promptId } = await session.submitPrompt(text('N:300:50:5'));
    await eventually('some chunks', () => first.texts.length > 20);
    await first.close();
    const seen = first.ids.at(-1) as number;
    const second = new Listener(session, seen);
    const end = await second.find('turn_complete');
    expect(end.data).toMatchObject({ promptId, stopReason: 'end_turn' });
    const ids = [...first.ids, ...second.ids];
    expect(ids).toEqual(ids.map((_id, index) => index + 1));
    const numbers = [...first.texts, ...second.texts].map((chunk) => Number.parseInt(chunk, 10));
    expect(numbers).toEqual(Array.from({ length: 300 }, (_value, index) => index));
    await second.close();
    await session.close();
  });

  test('the sixth pending prompt is refused in the form that the client knows', async () => {
    const session = await open();
    const unlimited = new DaemonClient({ baseUrl: server.baseUrl, maxPendingPromptsPerSession: null });
    const send = () => unlimited.promptNonBlocking(session.sessionId, text('hang'));
    for (let index = 0; index < 5; index += 1) await send();
    await expect(send()).rejects.toThrow(DaemonPendingPromptLimitError);
    expect((await session.getPendingPrompts()).pendingPrompts.map(({ state }) => state)).toEqual([
      'running',
      'queued',
      'queued',
      'queued',
      'queued',
    ]);
    await session.close();
  });

  test('lists the sessions of a workspace, with its clients', async () => {
    for (const workspace of workspaces()) {
      const cwd = server.workspaces[workspace] as string;
      const sessions = [await open(workspace), await open(workspace)];
      const ids = sessions.map(({ sessionId }) => sessionId);
      // Sessions of other tests, in which something was said, stay in the list.
      const list = async () =>
        (await client.listWorkspaceSessions(cwd)).filter(({ sessionId }) => ids.includes(sessionId));
      const listed = await list();
      expect(listed.map(({ sessionId }) => sessionId).sort()).toEqual([...ids].sort());
      expect(listed.every((item) => item.workspaceCwd === cwd && item.clientCount === 1)).toBe(true);
      await Promise.all(sessions.map((session) => session.close()));
      expect(await list()).toEqual([]);
    }
  });

  test('the last client’s detach closes the session', async () => {
    const session = await open();
    await session.detach();
    const error = await session.status().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(DaemonHttpError);
    expect(error).toMatchObject({ status: 404, body: { code: 'session_not_found' } });
  });

  test('a session without clients lives while a stream is open, and closes after the next turn', async () => {
    const session = await open();
    const listener = new Listener(session);
    await listener.find('replay_complete');
    await session.detach();
    expect((await session.status()).clientCount).toBe(0);
    await listener.close();
    // The server hears of the closed stream a moment later, so one turn may still find it open.
    await eventually('the session to be gone', async () => {
      try {
        await client.promptNonBlocking(session.sessionId, text('bye'));
        return false;
      } catch (error) {
        return (error as DaemonHttpError).status === 404;
      }
    });
  });

  test('closing ends the streams and the running turn, and may be repeated', async () => {
    const session = await open();
    const listener = new Listener(session);
    await listener.find('replay_complete');
    const turn = session.prompt(text('hang')).catch((error: unknown) => error);
    await listener.find('session_update');
    await session.close();
    await listener.done;
    expect(listener.events.at(-1)).toMatchObject({
      type: 'session_closed',
      data: { reason: 'client_close' },
    });
    expect(await turn).toBeInstanceOf(Error);
    await session.close();
  });
});

describe('a coordinator with two workspaces', () => {
  test('serves each by a daemon and an agent of its own, and keeps everything that it answered', async () => {
    const server = await FLEET.start();
    const client = new DaemonClient({ baseUrl: server.baseUrl });
    const sessions = await Promise.all(
      server.workspaces.map((workspaceCwd) => DaemonSessionClient.createOrAttach(client, { workspaceCwd })),
    );
    const answers = await Promise.all(sessions.map((session) => session.submitPrompt(text('N:5:20'))));
    await Promise.all(sessions.map((session) => session.prompt(text('hello'))));

    const diagnosed = await server.diagnostics();
    const pids = diagnosed.flatMap(({ pid, agent }) => [pid, agent?.pid]);
    expect(new Set([...pids, server.pid]).size).toBe(5);
    for (const { pid, agent } of diagnosed) expect(readProcStat(agent?.pid ?? 0)?.ppid).toBe(pid);
    expect(diagnosed.map(({ state, sessions }) => [state, sessions])).toEqual([
      ['ready', 1],
      ['ready', 1],
    ]);

    const rows = (sql: string, ...values: readonly unknown[]) => rowsOf(server.stateDir, sql, ...values);
    for (const [index, session] of sessions.entries()) {
      const { incarnation, pid, id } = diagnosed[index] as (typeof diagnosed)[number];
      const { sessionId, clientId } = session;
      expect(rows('SELECT * FROM sessions WHERE session_id = ?', sessionId)).toEqual([
        expect.objectContaining({ state: 'live', workspace_id: id, incarnation }),
      ]);
      expect(rows('SELECT * FROM daemons WHERE incarnation = ?', incarnation)).toEqual([
        expect.objectContaining({
          state: 'ready',
          launch_handle: expect.stringMatching(`"pid":${pid}\\b`),
        }),
      ]);
      expect(rows('SELECT client_id, count FROM session_clients WHERE session_id = ?', sessionId)).toEqual([
        { client_id: clientId, count: 1 },
      ]);
      // The feed is behind the stream by a moment.
      const prompts = await eventually('two settled prompts', () => {
        const found = rows('SELECT prompt_id, state, outcome FROM prompts WHERE session_id = ?', sessionId);
        return found.length === 2 && found.every(({ state }) => state === 'completed') && found;
      });
      expect(prompts.map(({ outcome }) => outcome)).toEqual(['end_turn', 'end_turn']);
      expect(prompts.map(({ prompt_id }) => prompt_id)).toContain(answers[index]?.promptId);
    }
  });
});
