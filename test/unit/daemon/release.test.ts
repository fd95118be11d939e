// The last word to a daemon: whether it lets go, what it then refuses, and what it says of itself.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { parseCreateRequest } from '../../../daemon/domain/create-request.ts';
import type { Call } from '../../../daemon/http/call.ts';
import { identity, release } from '../../../daemon/http/routes/control.ts';
import { Streams } from '../../../daemon/http/streams.ts';
import { settled } from '../../support/manual-clock.ts';
import { RestoreWorld } from '../../support/restore-world.ts';
import { OPTIONS } from '../../support/session-parts.ts';

class Daemon extends RestoreWorld {
  readonly #context = {
    sessions: this.sessions,
    streams: new Streams(),
    clock: this.clock,
    self: { incarnation: 'ws-1', pid: 1, startTime: 1, version: 'test' },
  };

  async create() {
    return (await this.sessions.create(parseCreateRequest({}), undefined, () => false)).session;
  }

  /** Whether it let go. */
  async lets(onlyIfQuiet: boolean): Promise<boolean> {
    const answer = await release(this.#context)({ body: { onlyIfQuiet } } as unknown as Call);
    return (answer as { readonly body: { readonly released: boolean } }).body.released;
  }

  get saysEnding(): boolean {
    const answer = identity(this.#context)({} as Call);
    return (answer as { readonly body: { readonly ending: boolean } }).body.ending;
  }
}

let daemon: Daemon;
beforeEach(() => {
  daemon = new Daemon();
});
afterEach(() => daemon.end());

describe('a daemon that is to let go only if it is quiet', () => {
  test('does so with sessions that rest, and says from then on that it is ending', async () => {
    await daemon.create();
    expect(daemon.saysEnding).toBe(false);
    expect(await daemon.lets(true)).toBe(true);
    expect(daemon.saysEnding).toBe(true);
    await expect(daemon.create()).rejects.toMatchObject({ code: 'daemon_draining' });
  });

  test('does not while the agent makes a session, which then comes to be', async () => {
    await daemon.host.channel();
    daemon.channel.answers.delete('session/new');
    const creating = daemon.create();
    await settled();
    expect(await daemon.lets(true)).toBe(false);
    daemon.channel.next('session/new').answer({ sessionId: 'old' });
    expect((await creating).hasEnded).toBe(false);
    expect(await daemon.lets(true)).toBe(true);
  });

  test('does not while the agent brings a session back', async () => {
    daemon.isLoadAnswered = false;
    const loading = daemon.load();
    await settled();
    expect(await daemon.lets(true)).toBe(false);
    daemon.channel.next('session/load').answer({});
    await loading;
    expect(await daemon.lets(true)).toBe(true);
  });

  test('does not while the agent holds work', async () => {
    const session = await daemon.create();
    session.backgroundWorkReported([{ category: 'task' }]);
    expect(await daemon.lets(true)).toBe(false);
    session.backgroundWorkReported([]);
    expect(await daemon.lets(true)).toBe(true);
  });

  test('does not while a turn runs or a question is open', async () => {
    const session = await daemon.create();
    session.turns.submit({ prompt: [{ type: 'text', text: 'hello' }] }, undefined);
    void session.askPermission({ toolCall: { toolCallId: 'c' }, options: OPTIONS });
    expect(await daemon.lets(true)).toBe(false);
    expect(daemon.saysEnding).toBe(false);
    daemon.channel.next('session/prompt').answer({});
    await settled();
    expect(await daemon.lets(true)).toBe(true);
  });
});

test('a daemon that is to let go in any case does', async () => {
  const session = await daemon.create();
  session.backgroundWorkReported([{ category: 'task' }]);
  expect(await daemon.lets(false)).toBe(true);
  expect(daemon.saysEnding).toBe(true);
});
