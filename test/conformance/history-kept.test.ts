// Sessions whose transcripts the agent keeps: in the list whether they are live or not, archived, named, found and deleted like
// those that we record.
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server, startDaemon, stubAgent } from '../support/fleet-process.ts';
import { Scratch } from '../support/scratch.ts';
import { TARGETS, type Target } from '../support/targets.ts';
import { type Answer, call, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

/** Servers over one workspace whose agent remembers, and lists what it remembers. */
class Kept {
  readonly scratch = new Scratch(2);
  readonly memory = join(this.scratch.dir, 'memory');
  readonly #target: Target;
  readonly #agent: string;
  #server: Server | undefined;

  constructor(target: Target, deletes = 'standard') {
    mkdirSync(this.memory);
    this.#target = target;
    this.#agent = stubAgent('--load', '--transcripts', '--memory', this.memory, `--list=${deletes}`, '--ext');
  }

  /** Starts a server, or another one in place of the last. */
  async start(): Promise<void> {
    await this.#server?.stop();
    this.#server = await this.#target.start({ scratch: this.scratch, agent: this.#agent });
  }

  get base(): string {
    return this.#server?.baseUrl ?? '';
  }

  ask(method: string, path: string, json?: unknown): Promise<Answer> {
    return call(this.base, method, path, json === undefined ? {} : { json });
  }

  get at(): string {
    return `/workspaces/${workspaceIdOf(this.scratch.workspaces[0] ?? '')}`;
  }

  async listed(query = ''): Promise<[string, unknown][]> {
    const { json } = await this.ask('GET', `${this.at}/sessions?size=50${query}`);
    const sessions = json.sessions as { sessionId: string; displayName?: string }[];
    return sessions.map(({ sessionId, displayName }) => [sessionId, displayName]);
  }

  /** A session in which something was said. */
  async said(text: string): Promise<string> {
    const { sessionId } = await newSession(this.base, this.scratch.workspaces[0]);
    await sendPrompt(this.base, sessionId, text);
    await eventually('the end of the turn', async () => {
      const { json } = await this.ask('GET', `/session/${sessionId}/status`);
      return json.hasActivePrompt === false;
    });
    return sessionId;
  }

  async closed(text: string): Promise<string> {
    const sessionId = await this.said(text);
    expect((await this.ask('DELETE', `/session/${sessionId}`)).status).toBe(204);
    return sessionId;
  }

  /** As a command-line client of the same agent leaves it. */
  writtenElsewhere(text: string): string {
    const sessionId = randomUUID();
    const update = { sessionUpdate: 'user_message_chunk', content: { type: 'text', text } };
    writeFileSync(this.#memoryOf(sessionId), `${JSON.stringify(update)}\n`);
    return sessionId;
  }

  remembers(sessionId: string): boolean {
    return existsSync(this.#memoryOf(sessionId));
  }

  forget(sessionId: string): void {
    rmSync(this.#memoryOf(sessionId));
  }

  #memoryOf(sessionId: string): string {
    return join(this.memory, `${sessionId}.jsonl`);
  }
}

describe.each(TARGETS)('sessions that the agent of %s keeps', (_name, target) => {
  test('are listed once they are closed, after a restart too, unless nothing was said in them', async () => {
    const kept = new Kept(target);
    await kept.start();
    const { sessionId: blank } = await newSession(kept.base, kept.scratch.workspaces[0]);
    await kept.ask('DELETE', `/session/${blank}`);
    const closed = await kept.closed('one');
    const live = await kept.said('two');
    expect((await kept.listed()).map(([id]) => id)).toEqual([live, closed]);
    await kept.start();
    expect((await kept.listed()).map(([id]) => id).sort()).toEqual([live, closed].sort());
    const transcript = await kept.ask('GET', `/session/${closed}/transcript`);
    expect([transcript.status, transcript.text]).toEqual([200, expect.stringContaining('echo: one')]);
  });

  test('keep their name and their end over a load', async () => {
    const kept = new Kept(target);
    await kept.start();
    const sessionId = await kept.closed('one');
    const patched = await kept.ask('PATCH', `${kept.at}/session/${sessionId}/metadata`, {
      displayName: 'mine',
    });
    expect([patched.status, patched.json.displayName]).toEqual([200, 'mine']);
    await kept.start();
    expect(await kept.listed()).toEqual([[sessionId, 'mine']]);
    const loaded = await kept.ask('POST', `/session/${sessionId}/load`, {});
    expect(loaded.text).toContain('echo: one');
    const { json } = await kept.ask('GET', `/session/${sessionId}/status`);
    expect(json.displayName).toBe('mine');
    await kept.ask('DELETE', `/session/${sessionId}`);
    // The agent, which runs, calls it by its first words.
    expect(await kept.listed()).toEqual([[sessionId, 'mine']]);
  });

  test('can be archived, brought back and deleted', async () => {
    const kept = new Kept(target);
    await kept.start();
    const dormantSessions = await kept.closed('at rest');
    const idle = await kept.said('idle');
    const archived = await kept.ask('POST', `${kept.at}/sessions/archive`, {
      sessionIds: [dormantSessions, idle],
    });
    expect(archived.json).toMatchObject({ archived: [dormantSessions, idle], notFound: [], errors: [] });
    await kept.start();
    expect(await kept.listed()).toEqual([]);
    expect(await kept.listed('&archiveState=archived')).toHaveLength(2);
    expect((await kept.ask('POST', `/session/${dormantSessions}/load`, {})).json.code).toBe(
      'session_archived',
    );
    const back = await kept.ask('POST', '/sessions/unarchive', { sessionIds: [dormantSessions] });
    expect(back.json).toMatchObject({ unarchived: [dormantSessions], errors: [] });
    expect((await kept.ask('POST', `/session/${dormantSessions}/load`, {})).status).toBe(200);
    const gone = await kept.ask('POST', '/sessions/delete', { sessionIds: [dormantSessions, idle] });
    expect(gone.json).toEqual({ removed: [dormantSessions, idle], notFound: [], errors: [] });
    expect([kept.remembers(dormantSessions), kept.remembers(idle)]).toEqual([false, false]);
    expect(await kept.listed()).toEqual([]);
  });
});

describe('a daemon whose agent keeps its sessions', () => {
  const BARE: Target = { name: 'a bare daemon', isFleet: false, start: startDaemon };

  test('lists those that it never saw, from when the agent runs on, and loads them', async () => {
    const kept = new Kept(BARE);
    const old = ['first', 'second', 'third'].map((text) => kept.writtenElsewhere(text));
    await kept.start();
    expect(await kept.listed()).toEqual([]);
    await kept.closed('ours');
    const titles = (await kept.listed()).map(([, name]) => name);
    expect(titles.sort()).toEqual(['first', 'ours', 'second', 'third']);
    await kept.start();
    expect(await kept.listed()).toHaveLength(4);
    const loaded = await kept.ask('POST', `/session/${old[1]}/load`, {});
    expect([loaded.status, loaded.text]).toEqual([200, expect.stringContaining('second')]);
  });

  test('finds what was said in them while the agent runs, and says when it could not look', async () => {
    const kept = new Kept(BARE);
    await kept.start();
    const sessionId = await kept.closed('a needle in here');
    const search = async () =>
      (await kept.ask('GET', `${kept.at}/sessions/search?q=echo:%20a%20needle`)).json;
    const { results } = (await search()) as { results: { session: { sessionId: string } }[] };
    expect(results.map(({ session }) => session.sessionId)).toEqual([sessionId]);
    await kept.start();
    expect(await search()).toEqual({ results: [], truncated: true });
  });

  test('deletes them with the call that its agent has, and says so where there is none', async () => {
    const own = new Kept(BARE, 'own');
    await own.start();
    const removed = await own.closed('one');
    const gone = await own.ask('POST', '/sessions/delete', { sessionIds: [removed] });
    expect([gone.json.removed, own.remembers(removed)]).toEqual([[removed], false]);
    const without = new Kept(BARE, 'no');
    await without.start();
    const stays = await without.said('one');
    const refused = await without.ask('POST', '/sessions/delete', { sessionIds: [stays] });
    expect(refused.json).toMatchObject({
      removed: [],
      errors: [
        { sessionId: stays, code: 'not_implemented', error: expect.stringContaining('The agent keeps') },
      ],
    });
    expect((await without.ask('GET', `/session/${stays}/status`)).status).toBe(404);
    expect((await without.listed()).map(([id]) => id)).toEqual([stays]);
  });

  test('forgets one that the agent no longer has, when somebody asks for it', async () => {
    const kept = new Kept(BARE);
    await kept.start();
    const sessionId = await kept.closed('one');
    kept.forget(sessionId);
    expect((await kept.listed()).map(([id]) => id)).toEqual([sessionId]);
    expect((await kept.ask('POST', `/session/${sessionId}/load`, {})).status).toBe(404);
    expect(await kept.listed()).toEqual([]);
  });

  test('closes them to a chosen id that is taken', async () => {
    const kept = new Kept(BARE);
    await kept.start();
    const sessionId = await kept.closed('one');
    const again = await kept.ask('POST', '/session', { sessionId });
    expect([again.status, again.json.code]).toEqual([409, 'session_id_conflict']);
  });
});
