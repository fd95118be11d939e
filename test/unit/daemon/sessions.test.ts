// The sessions of a workspace over a fake agent: who gets which, what the coordinator is told, and when one ends.

import { describe, expect, test } from '@jest/globals';
import { AgentCallError, AgentMissing, AgentTimeout, type Params } from '../../../daemon/agent/agent.ts';
import { ApiError } from '../../../daemon/contract/errors.ts';
import type { FeedBody } from '../../../daemon/contract/feed.ts';
import type { Limits } from '../../../daemon/contract/limits.ts';
import { parseCreateRequest } from '../../../daemon/domain/create-request.ts';
import type { AgentEventRouter } from '../../../daemon/sessions/agent-event-router.ts';
import type { JoinedSession } from '../../../daemon/sessions/attachments.ts';
import type { AutoClose } from '../../../daemon/sessions/auto-close.ts';
import type { LiveSessions } from '../../../daemon/sessions/live-sessions.ts';
import { daemonSessions } from '../../support/daemon-sessions.ts';
import { CRASH, type FakeChannel, FakeHost } from '../../support/fake-channel.ts';
import { ManualClock, settled } from '../../support/manual-clock.ts';
import { noTranscripts } from '../../support/no-history.ts';
import { eventsOf } from '../../support/session-parts.ts';

const THREAD = { sessionScope: 'thread' };
const CHOSEN = '6f9619ff-8b86-4d01-b42d-00c04fc964ff';

/** The sessions of a daemon, with an agent that makes sessions as they are asked for. */
class Workspace {
  readonly clock = new ManualClock();
  readonly host = new FakeHost(this.clock);
  readonly records: FeedBody[] = [];
  readonly sessions: LiveSessions;
  readonly router: AgentEventRouter;
  readonly autoClose: AutoClose;
  #made = 0;

  constructor(limits: Partial<Limits> = {}) {
    this.host.onStart = (channel) => {
      channel.answers.set('session/new', (params) => ({ sessionId: this.#idFor(params) }));
      for (const method of ['session/set_model', 'session/set_mode']) channel.answers.set(method, () => ({}));
    };
    const { sessions, router, autoClose } = daemonSessions({
      clock: this.clock,
      agent: this.host,
      ownership: noTranscripts(),
      limits,
      publish: (body) => this.records.push(body),
    });
    this.sessions = sessions;
    this.router = router;
    this.autoClose = autoClose;
  }

  create(body: Params = {}, offered?: string, hasLeft: () => boolean = () => false): Promise<JoinedSession> {
    return this.sessions.create(parseCreateRequest(body), offered, hasLeft);
  }

  /** How a create that must fail is refused. */
  async refusal(body: Params = {}): Promise<Record<string, unknown>> {
    try {
      await this.create(body);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return { status: error.status, code: error.code, ...error.context };
    }
    throw new Error('the create succeeded');
  }

  /** The agent answers every call of the method with the error. */
  refuses(method: string, error: AgentCallError): void {
    this.channel.answers.set(method, () => {
      throw error;
    });
  }

  /** The child that runs now. */
  get channel(): FakeChannel {
    const channel = this.host.current();
    if (channel === undefined) throw new Error('no agent runs');
    return channel;
  }

  /** What the coordinator believes: the sessions that it was told of and whose end it was not, with their clients. */
  get believed(): Record<string, string[]> {
    const live: Record<string, string[]> = {};
    for (const body of this.records) {
      if (body.type === 'session')
        live[body.session.sessionId] = body.session.clients.map(({ clientId }) => clientId);
      if (body.type === 'session_ended') delete live[body.ended.sessionId];
    }
    return live;
  }

  get endings(): string[] {
    return this.records.flatMap((body) => (body.type === 'session_ended' ? [body.ended.reason] : []));
  }

  #idFor({ _meta }: Params): unknown {
    this.#made += 1;
    return (_meta as Params | undefined)?.['qwen-code/sessionId'] ?? `made-${this.#made}`;
  }
}

/** A reader that takes nothing, only to be there. */
const READER = { pump: () => undefined, claimsPause: () => false };

describe('a create', () => {
  test('tells the coordinator of the session before it is answered, with the number of that record', async () => {
    const workspace = new Workspace();
    const { session, clientId, feedSeq } = await workspace.create();
    expect(workspace.records[feedSeq - 1]).toMatchObject({
      type: 'session',
      session: { sessionId: session.sessionId, isDefault: true, clients: [{ clientId, count: 1 }] },
    });
  });

  test('of the single scope does not attach to a session whose agent is dying', async () => {
    const workspace = new Workspace();
    const old = await workspace.create();
    const dying = workspace.channel;
    dying.die();
    const fresh = await workspace.create();
    expect([fresh.isAttached, fresh.session.channel === dying]).toEqual([false, false]);
    workspace.router.exited(dying, CRASH);
    expect([old.session.hasEnded, fresh.session.hasEnded]).toEqual([true, false]);
    expect((await workspace.create()).session).toBe(fresh.session);
  });

  test('of the single scope is shared by all who ask meanwhile, a thread is not', async () => {
    const workspace = new Workspace();
    const [first, second, thread] = await Promise.all([
      workspace.create(),
      workspace.create(),
      workspace.create(THREAD),
    ]);
    expect([first?.isAttached, second?.isAttached, thread?.isAttached]).toEqual([false, true, false]);
    expect(second?.session).toBe(first?.session);
    expect(thread?.session).not.toBe(first?.session);
    expect(second?.clientId).not.toBe(first?.clientId);
  });

  test('that fails fails for all who share it, and the next one starts over', async () => {
    const workspace = new Workspace();
    workspace.host.failure = new AgentMissing('x', 'agent x is not installed');
    const refusals = await Promise.all([workspace.refusal(), workspace.refusal()]);
    for (const refusal of refusals)
      expect(refusal).toEqual({
        status: 503,
        code: 'acp_channel_unavailable',
        errorKind: 'missing_binary',
      });
    workspace.host.failure = undefined;
    expect((await workspace.create()).isAttached).toBe(false);
  });

  test('with a chosen id gets that id, in lower case, and no other one while it lives or starts', async () => {
    const workspace = new Workspace();
    const [created, racing] = await Promise.all([
      workspace.create({ sessionId: CHOSEN.toUpperCase() }),
      workspace.refusal({ sessionId: CHOSEN }),
    ]);
    expect(created.session.sessionId).toBe(CHOSEN);
    expect(racing).toEqual({
      status: 409,
      code: 'session_id_conflict',
      sessionId: CHOSEN,
      conflict: 'starting',
    });
    expect(await workspace.refusal({ sessionId: CHOSEN })).toMatchObject({
      conflict: 'live',
      liveWorkspaceCwd: '/ws',
    });
  });

  test('with an id that the agent does not take is 500 and leaves no session', async () => {
    const workspace = new Workspace();
    await workspace.create(THREAD);
    workspace.channel.answers.set('session/new', () => ({ sessionId: 'another' }));
    expect(await workspace.refusal({ sessionId: CHOSEN })).toEqual({
      status: 500,
      code: 'session_id_not_honored',
      sessionId: CHOSEN,
    });
    expect(workspace.sessions.liveCount).toBe(1);
  });

  test('with the id of a session that the agent is still closing waits for the end of that', async () => {
    const workspace = new Workspace();
    const { session } = await workspace.create({ sessionId: CHOSEN });
    workspace.channel.answers.delete('qwen/control/session/close');
    workspace.sessions.close(session, undefined);
    const again = workspace.create({ sessionId: CHOSEN });
    await settled();
    const asked = () => workspace.channel.calls.filter(({ method }) => method === 'session/new').length;
    expect(asked()).toBe(1);
    workspace.channel.next('qwen/control/session/close').answer({ closed: true });
    expect((await again).session.sessionId).toBe(CHOSEN);
    expect(asked()).toBe(2);
  });

  test.each([[null], [{}], [{ sessionId: '' }], [{ sessionId: 7 }], ['text']])(
    'whose answer has no session id is refused: %j',
    async (answer) => {
      const workspace = new Workspace();
      workspace.host.onStart = (channel) => channel.answers.set('session/new', () => answer);
      expect(await workspace.refusal()).toMatchObject({ code: 'acp_channel_unavailable' });
      expect(workspace.sessions.liveCount).toBe(0);
    },
  );

  test('of an id that the agent gave out before is refused, and the first session lives on', async () => {
    const workspace = new Workspace();
    workspace.host.onStart = (channel) => channel.answers.set('session/new', () => ({ sessionId: 'same' }));
    const { session } = await workspace.create(THREAD);
    expect(await workspace.refusal(THREAD)).toMatchObject({ code: 'session_id_conflict' });
    expect(workspace.sessions.find('same')).toBe(session);
    expect(workspace.endings).toEqual([]);
  });

  test('that the agent does not answer is 504 with the phase and the time', async () => {
    const workspace = new Workspace({ initializeTimeoutMs: 500 });
    workspace.host.onStart = () => undefined;
    const refusal = workspace.refusal();
    await settled();
    workspace.clock.advance(500);
    expect(await refusal).toEqual({
      status: 504,
      code: 'init_timeout',
      errorKind: 'init_timeout',
      retryable: true,
      phase: 'session/new',
      timeoutMs: 500,
    });
  });

  test('for which the agent does not start in time is 504 too', async () => {
    const workspace = new Workspace();
    workspace.host.failure = new AgentTimeout('initialize', 10_000);
    expect(await workspace.refusal()).toEqual({
      status: 504,
      code: 'init_timeout',
      errorKind: 'init_timeout',
      retryable: true,
      phase: 'channel.initialize',
      timeoutMs: 10_000,
    });
  });

  test('during which the agent dies is 503 with its last words', async () => {
    const workspace = new Workspace();
    workspace.host.onStart = () => undefined;
    const refusal = workspace.refusal();
    await settled();
    workspace.channel.die();
    expect(await refusal).toEqual({
      status: 503,
      code: 'acp_channel_unavailable',
      errorKind: 'protocol_error',
      exitCode: 7,
      signalCode: null,
      lastLines: ['last words'],
    });
  });

  test('that the agent refuses hands its error on', async () => {
    const workspace = new Workspace();
    workspace.host.onStart = (channel) =>
      channel.answers.set('session/new', () => {
        throw new AgentCallError(-32000, 'log in first', { errorKind: 'auth_env_error' });
      });
    expect(await workspace.refusal()).toEqual({
      status: 500,
      code: -32000,
      data: { errorKind: 'auth_env_error' },
    });
  });

  test('keeps the session where its model is refused, and says so', async () => {
    const workspace = new Workspace();
    await workspace.create(THREAD);
    workspace.refuses('session/set_model', new AgentCallError(-32603, 'no'));
    const { session, isModelApplied } = await workspace.create({ ...THREAD, modelServiceId: 'm9' });
    expect(isModelApplied).toBe(false);
    expect(eventsOf(session.bus).map(({ type }) => type)).toEqual(['model_switch_failed']);
  });

  const untrusted = new AgentCallError(-32003, 'not trusted', { errorKind: 'trust_gate' });

  test.each([
    [untrusted, { status: 403, code: 'trust_gate' }],
    [new AgentCallError(-32603, 'no'), { status: 500, code: -32603 }],
  ])('whose mode is refused is refused, and leaves no session: %s', async (error, refusal) => {
    const workspace = new Workspace();
    await workspace.create(THREAD);
    const before = workspace.believed;
    workspace.refuses('session/set_mode', error);
    expect(await workspace.refusal({ ...THREAD, approvalMode: 'yolo', modelServiceId: 'm2' })).toEqual(
      refusal,
    );
    await settled();
    expect([workspace.sessions.liveCount, workspace.believed]).toEqual([1, before]);
    // The agent drops it too, and nothing was switched on the way.
    const asked = workspace.channel.calls.filter(({ params }) => params.sessionId === 'made-2');
    expect(asked.at(-1)?.method).toBe('qwen/control/session/close');
    expect(asked.map(({ method }) => method)).not.toContain('session/set_model');
  });

  test('whose mode is refused at an attach is refused, and the shared session is as it was', async () => {
    const workspace = new Workspace();
    const { session, clientId } = await workspace.create();
    workspace.refuses('session/set_mode', untrusted);
    const refusal = await workspace.refusal({ approvalMode: 'yolo', modelServiceId: 'm2' });
    expect(refusal).toEqual({ status: 403, code: 'trust_gate' });
    expect([session.hasEnded, session.clients.ids()]).toEqual([false, [clientId]]);
    expect(workspace.believed).toEqual({ [session.sessionId]: [clientId] });
    expect(eventsOf(session.bus)).toEqual([]);
  });

  test('whose agent dies while it takes the mode is refused, and nobody believes in the session', async () => {
    const workspace = new Workspace();
    await workspace.create();
    const { channel } = workspace;
    channel.answers.delete('session/set_mode');
    const refusal = workspace.refusal({ approvalMode: 'yolo' });
    await settled();
    channel.die();
    workspace.router.exited(channel, CRASH);
    expect(await refusal).toMatchObject({ status: 503, code: 'acp_channel_unavailable' });
    expect([workspace.sessions.liveCount, workspace.believed]).toEqual([0, {}]);
  });

  test('after the daemon began to stop is refused', async () => {
    const workspace = new Workspace();
    workspace.sessions.stop();
    expect(await workspace.refusal()).toMatchObject({ status: 503, code: 'daemon_draining' });
  });

  test('that is under way when the daemon stops leaves no session', async () => {
    const workspace = new Workspace();
    const refusal = workspace.refusal();
    workspace.sessions.stop();
    expect(await refusal).toMatchObject({ code: 'daemon_draining' });
    expect([workspace.sessions.liveCount, workspace.believed]).toEqual([0, {}]);
  });
});

describe('a model that is asked for', () => {
  const told = ({ bus }: JoinedSession['session']) =>
    eventsOf(bus).map(({ type, data, originatorClientId }) => [
      type,
      (data as Params).value ?? (data as Params).modelId,
      originatorClientId,
    ]);

  test('at a create is told as the new default of the workspace', async () => {
    const workspace = new Workspace();
    const { session: other } = await workspace.create(THREAD);
    const { session, isModelApplied } = await workspace.create({ ...THREAD, modelServiceId: 'm2' });
    expect(isModelApplied).toBe(true);
    expect(told(session)).toEqual([
      ['model_switched', 'm2', undefined],
      ['settings_changed', 'm2', undefined],
    ]);
    expect(told(other)).toEqual([['settings_changed', 'm2', undefined]]);
  });

  test('at an attach is told as the doing of the one who attached', async () => {
    const workspace = new Workspace();
    const { session: other } = await workspace.create(THREAD);
    const { session } = await workspace.create();
    const { clientId } = await workspace.create({ modelServiceId: 'm2' });
    expect(told(session)).toEqual([
      ['model_switched', 'm2', clientId],
      ['settings_changed', 'm2', clientId],
    ]);
    expect(told(other)).toEqual([['settings_changed', 'm2', clientId]]);
  });
});

describe('a creator that left', () => {
  const left = () => true;
  const requested = { approvalMode: 'plan', modelServiceId: 'm2' };

  test('changes nothing of the session that it would have attached to', async () => {
    const workspace = new Workspace();
    const { session } = await workspace.create();
    const asked = workspace.channel.calls.length;
    await workspace.create(requested, undefined, left);
    expect([workspace.channel.calls.length, eventsOf(session.bus)]).toEqual([asked, []]);
  });

  test('is detached though it leaves only while the session changes', async () => {
    const workspace = new Workspace();
    const { session, clientId } = await workspace.create();
    workspace.channel.answers.delete('session/set_mode');
    let hasLeft = false;
    const attached = workspace.create(requested, clientId, () => hasLeft);
    await settled();
    expect(workspace.believed).toEqual({ [session.sessionId]: [clientId] });
    hasLeft = true;
    workspace.channel.next('session/set_mode').answer({});
    await attached;
    expect(session.clients.snapshot()).toMatchObject([{ clientId, count: 1 }]);
  });

  test('leaves no session, neither here nor with the coordinator', async () => {
    const workspace = new Workspace();
    await workspace.create({}, undefined, left);
    expect([workspace.sessions.liveCount, workspace.believed]).toEqual([0, {}]);
    expect(workspace.endings).toEqual(['last_client_detached']);
    expect((await workspace.create()).isAttached).toBe(false);
  });

  test('leaves the session to those who share it', async () => {
    const workspace = new Workspace();
    const [, other] = await Promise.all([workspace.create({}, undefined, left), workspace.create()]);
    expect(other?.session.hasEnded).toBe(false);
    expect(workspace.believed).toEqual({ [other?.session.sessionId ?? '']: [other?.clientId] });
  });

  test('leaves the session that it waited for to the one who had it made', async () => {
    const workspace = new Workspace();
    const [made] = await Promise.all([workspace.create(), workspace.create({}, undefined, left)]);
    expect([made?.isAttached, made?.session.hasEnded]).toEqual([false, false]);
    expect(workspace.believed).toEqual({ [made?.session.sessionId ?? '']: [made?.clientId] });
  });

  test('takes only its own registration with it when it attached', async () => {
    const workspace = new Workspace();
    const { session, clientId } = await workspace.create();
    await workspace.create({}, undefined, left);
    expect(session.clients.ids()).toEqual([clientId]);
    expect(workspace.believed).toEqual({ [session.sessionId]: [clientId] });
  });
});

test('a session whose agent died before the create was answered is refused, and nobody believes in it', async () => {
  const workspace = new Workspace();
  workspace.host.onStart = (channel) => channel.answers.set('session/new', () => ({ sessionId: 'short' }));
  const refusal = workspace.refusal({ modelServiceId: 'm2' });
  await settled();
  const { channel } = workspace;
  channel.die();
  workspace.router.exited(channel, CRASH);
  expect(await refusal).toMatchObject({ status: 503, code: 'acp_channel_unavailable' });
  expect([workspace.sessions.liveCount, workspace.believed]).toEqual([0, {}]);
});

describe('the caps', () => {
  test('count sessions that live and that start, and attaches not at all', async () => {
    const workspace = new Workspace({ maxSessions: 2 });
    await workspace.create();
    const [, refused] = await Promise.all([workspace.create(THREAD), workspace.refusal(THREAD)]);
    expect(refused).toEqual({ status: 503, code: 'session_limit_exceeded', limit: 2, scope: 'workspace' });
    expect((await workspace.create()).isAttached).toBe(true);
  });

  test('name the total where that is the lower one, and zero is none', async () => {
    const workspace = new Workspace({ maxSessions: 0, maxTotalSessions: 1 });
    await workspace.create(THREAD);
    expect(await workspace.refusal(THREAD)).toMatchObject({ limit: 1, scope: 'total' });
    const free = new Workspace({ maxSessions: 0, maxTotalSessions: 0 });
    for (let made = 0; made < 40; made += 1) await free.create(THREAD);
    expect(free.sessions.liveCount).toBe(40);
  });

  test('give the place of a session that ended, or never came to be, to the next one', async () => {
    const workspace = new Workspace({ maxSessions: 1 });
    const { session } = await workspace.create();
    workspace.sessions.close(session, undefined);
    workspace.channel.answers.set('session/new', () => {
      throw new AgentCallError(1, 'no');
    });
    await workspace.refusal();
    expect((await workspace.create()).isAttached).toBe(false);
  });
});

describe('a session closes by itself', () => {
  test('when its last client detaches', async () => {
    const workspace = new Workspace();
    const { session, clientId } = await workspace.create();
    await workspace.create();
    workspace.sessions.detach(session, clientId);
    expect(session.hasEnded).toBe(false);
    workspace.sessions.detach(session, session.clients.ids()[0]);
    expect([session.hasEnded, workspace.endings]).toEqual([true, ['last_client_detached']]);
  });

  test('not for a detach that nobody did', async () => {
    const workspace = new Workspace();
    const { session } = await workspace.create();
    for (const clientId of [undefined, 'unknown']) workspace.sessions.detach(session, clientId);
    expect(session.hasEnded).toBe(false);
  });

  test('not while a stream is open, a question is, or the agent holds work; then with that work', async () => {
    const workspace = new Workspace();
    const { session, clientId } = await workspace.create();
    session.bus.attach(READER);
    workspace.sessions.detach(session, clientId);
    session.bus.detach(READER);
    void session.askPermission({});
    workspace.autoClose.ifUnused(session);
    session.permissions.cancelAll('timeout');
    session.backgroundWorkReported([{ category: 'task', id: '1' }]);
    workspace.autoClose.ifUnused(session);
    expect(session.hasEnded).toBe(false);
    session.backgroundWorkReported([]);
    expect(workspace.endings).toEqual(['last_client_detached']);
  });

  test('when its last turn settles', async () => {
    const workspace = new Workspace();
    const { session, clientId } = await workspace.create();
    session.turns.submit({ prompt: [{ type: 'text', text: 'x' }] }, clientId);
    workspace.sessions.detach(session, clientId);
    expect(session.hasEnded).toBe(false);
    workspace.channel.next('session/prompt').answer({});
    await settled();
    expect(workspace.endings).toEqual(['last_client_detached']);
  });

  test('a grace after its last turn, unless somebody came meanwhile', async () => {
    const workspace = new Workspace({ sessionPromptSettledCloseGraceMs: 100 });
    for (const comesBack of [true, false]) {
      const { session, clientId } = await workspace.create();
      session.turns.submit({ prompt: [{ type: 'text', text: 'x' }] }, clientId);
      workspace.sessions.detach(session, clientId);
      workspace.channel.next('session/prompt').answer({});
      await settled();
      workspace.clock.advance(99);
      expect(session.hasEnded).toBe(false);
      if (comesBack) await workspace.create();
      workspace.clock.advance(1);
      expect(session.hasEnded).toBe(!comesBack);
      for (const id of session.clients.ids()) workspace.sessions.detach(session, id);
    }
  });

  test('when it was idle for too long, with its clients', async () => {
    const workspace = new Workspace({ sessionIdleTimeoutMs: 1000 });
    const { session, clientId } = await workspace.create();
    workspace.clock.advance(900);
    workspace.sessions.heartbeat(session, clientId);
    workspace.clock.advance(999);
    workspace.autoClose.closeIdle();
    expect(session.hasEnded).toBe(false);
    workspace.clock.advance(1);
    workspace.autoClose.closeIdle();
    expect(workspace.endings).toEqual(['idle_timeout']);
  });

  test('but is not idle with a stream, a turn, a question, or work of the agent', async () => {
    const workspace = new Workspace({ sessionIdleTimeoutMs: 1000 });
    const holders: ((created: JoinedSession) => void)[] = [
      ({ session }) => session.bus.attach(READER),
      ({ session }) => void session.turns.submit({ prompt: [{ type: 'text', text: 'x' }] }, undefined),
      ({ session }) => void session.askPermission({}),
      ({ session }) => session.backgroundWorkReported([{ category: 'task', id: '1' }]),
    ];
    for (const hold of holders) hold(await workspace.create(THREAD));
    workspace.clock.advance(10_000);
    workspace.autoClose.closeIdle();
    expect(workspace.endings).toEqual([]);
  });

  test('never for idleness where that is off', async () => {
    const workspace = new Workspace({ sessionIdleTimeoutMs: 0 });
    await workspace.create();
    workspace.clock.advance(2 ** 40);
    workspace.autoClose.closeIdle();
    expect(workspace.sessions.liveCount).toBe(1);
  });
});

describe('the end of a session', () => {
  test('is told to the agent, whose running turn is cancelled', async () => {
    const workspace = new Workspace();
    const { session, clientId } = await workspace.create();
    session.turns.submit({ prompt: [{ type: 'text', text: 'x' }] }, clientId);
    workspace.sessions.close(session, clientId);
    await settled();
    const { sessionId } = session;
    expect(workspace.channel.notifications).toEqual([{ method: 'session/cancel', params: { sessionId } }]);
    expect(workspace.channel.calls.at(-1)).toMatchObject({
      method: 'qwen/control/session/close',
      params: { sessionId },
    });
    expect(() => workspace.sessions.get(sessionId)).toThrow('No such session');
  });

  test('empties the slot', async () => {
    const workspace = new Workspace();
    const { session } = await workspace.create();
    workspace.sessions.close(session, undefined);
    expect((await workspace.create()).isAttached).toBe(false);
  });

  test('with the child takes every session of that child and no other', async () => {
    const workspace = new Workspace();
    const old = await workspace.create();
    const { channel } = workspace;
    channel.die();
    const fresh = await workspace.create(THREAD);
    workspace.router.exited(channel, CRASH);
    expect([old.session.hasEnded, fresh.session.hasEnded]).toEqual([true, false]);
    expect(workspace.endings).toEqual(['channel_closed']);
    expect(workspace.records.at(-1)).toEqual({
      type: 'agent',
      agent: null,
      exit: { code: 7, signal: null, sessions: 1 },
    });
  });

  test('comes to all with the daemon’s', async () => {
    const workspace = new Workspace();
    await Promise.all([workspace.create(), workspace.create(THREAD)]);
    workspace.sessions.stop();
    expect([workspace.sessions.liveCount, workspace.endings]).toEqual([
      0,
      ['daemon_shutdown', 'daemon_shutdown'],
    ]);
  });
});

describe('the agent child', () => {
  const failing = () => {
    throw new AgentCallError(1, 'no');
  };

  test('is let go where it has no session and makes none', async () => {
    const workspace = new Workspace();
    workspace.host.onStart = (channel) => channel.answers.set('session/new', failing);
    await workspace.refusal();
    expect(workspace.host.retired).toHaveLength(1);
  });

  test('is kept where it has another one', async () => {
    const workspace = new Workspace();
    await workspace.create();
    workspace.channel.answers.set('session/new', failing);
    await workspace.refusal(THREAD);
    expect(workspace.host.retired).toEqual([]);
  });

  test('is kept where another one is on its way', async () => {
    const workspace = new Workspace();
    workspace.host.onStart = () => undefined;
    const [refused, created] = [workspace.refusal(THREAD), workspace.create(THREAD)];
    await settled();
    workspace.channel.next('session/new').fail(new AgentCallError(1, 'no'));
    await refused;
    expect(workspace.host.retired).toEqual([]);
    workspace.channel.next('session/new').answer({ sessionId: 'one' });
    expect((await created).session.hasEnded).toBe(false);
  });

  test.each([
    [{ channelReuseMs: 1000, channelIdleTimeoutMs: 0 }, 1000],
    [{ channelReuseMs: 1000, channelIdleTimeoutMs: 5000 }, 5000],
  ])('is let go some time after its last session: %j', async (limits, afterMs) => {
    const workspace = new Workspace(limits);
    const { session } = await workspace.create();
    workspace.sessions.close(session, undefined);
    workspace.clock.advance(afterMs - 1);
    expect(workspace.host.retired).toEqual([]);
    workspace.clock.advance(1);
    expect(workspace.host.retired).toHaveLength(1);
  });

  test('takes the session that comes before that', async () => {
    const workspace = new Workspace();
    const { session } = await workspace.create();
    workspace.sessions.close(session, undefined);
    workspace.clock.advance(999);
    await workspace.create();
    workspace.clock.advance(60_000);
    expect(workspace.host.retired).toEqual([]);
  });
});

describe('what the agent says', () => {
  const update = (sessionId: string, text: string) => ({
    sessionId,
    update: { sessionUpdate: 'stub', text },
    extra: { deep: [null] },
  });

  test('goes out as it is, as part of the running turn', async () => {
    const workspace = new Workspace();
    const { session, clientId } = await workspace.create();
    const { sessionId } = session;
    workspace.router.update(sessionId, update(sessionId, 'idle'));
    const { promptId } = session.turns.submit({ prompt: [{ type: 'text', text: 'x' }] }, clientId);
    workspace.router.update(sessionId, update(sessionId, 'busy'));
    const events = eventsOf(session.bus);
    expect(events[0]?.data).toEqual(update(sessionId, 'idle'));
    expect(Object.keys(events[0] ?? {})).not.toContain('promptId');
    expect(events.at(-1)).toMatchObject({
      promptId,
      originatorClientId: clientId,
      data: update(sessionId, 'busy'),
    });
  });

  test('before its session is known is kept and comes first, in order', async () => {
    const workspace = new Workspace();
    workspace.host.onStart = () => undefined;
    const created = workspace.create();
    await settled();
    workspace.router.update('early', update('early', 'one'));
    workspace.router.notification('qwen/notify/session/title-update', { sessionId: 'early', title: 'T' });
    workspace.router.update('early', update('early', 'two'));
    workspace.channel.next('session/new').answer({ sessionId: 'early' });
    const { session } = await created;
    expect(eventsOf(session.bus).map(({ type }) => type)).toEqual([
      'session_update',
      'session_metadata_updated',
      'session_update',
    ]);
  });

  test('about a session that ended is not handed to the next one of that id', async () => {
    const workspace = new Workspace();
    const { session } = await workspace.create({ sessionId: CHOSEN });
    workspace.sessions.close(session, undefined);
    workspace.router.update(CHOSEN, update(CHOSEN, 'of the old turn'));
    const again = await workspace.create({ sessionId: CHOSEN });
    expect(eventsOf(again.session.bus)).toEqual([]);
  });

  test('of a session’s title reaches the coordinator', async () => {
    const workspace = new Workspace();
    const { session } = await workspace.create();
    const { sessionId } = session;
    workspace.router.notification('qwen/notify/session/title-update', { sessionId, title: 'A title' });
    expect(workspace.records.at(-1)).toMatchObject({ type: 'session', session: { displayName: 'A title' } });
  });

  test('of a model while a client switches it is not told twice', async () => {
    const workspace = new Workspace();
    const { session } = await workspace.create();
    const { sessionId } = session;
    const notify = (currentModelId: string) =>
      workspace.router.notification('qwen/notify/session/model-update', { sessionId, currentModelId });
    workspace.channel.answers.delete('session/set_model');
    const switched = session.settings.switchModel('m2', 'c-1');
    await settled();
    notify('m2');
    workspace.channel.next('session/set_model').answer({});
    await switched;
    notify('m3');
    const models = eventsOf(session.bus).filter(({ type }) => type === 'model_switched');
    expect(models.map(({ data }) => (data as Params).modelId)).toEqual(['m2', 'm3']);
  });

  test('as a question about no session is cancelled, as another request unknown', async () => {
    const workspace = new Workspace();
    expect(await workspace.router.request('session/request_permission', { sessionId: 'nobody' })).toEqual({
      outcome: { outcome: 'cancelled' },
    });
    expect(await workspace.router.request('craft/drainMidTurnQueue', {})).toEqual({
      messages: [],
      items: [],
      hasQueuedPrompt: false,
    });
    expect(await workspace.router.request('_qwencode/start_turn', {})).toEqual({ accepted: false });
    for (const method of ['craft/claimTodoStopGuardContinuation', 'toString', ''])
      await expect(workspace.router.request(method, {})).rejects.toMatchObject({ code: -32601 });
  });

  test('of held work counts per session, and a session that is not named holds nothing', async () => {
    const workspace = new Workspace();
    const [one, two] = [await workspace.create(THREAD), await workspace.create(THREAD)];
    const report = (sessions: unknown) =>
      workspace.router.notification('qwen/notify/channel/active-work', { v: 1, seq: 1, sessions });
    const held = () => [one, two].map(({ session }) => session.hasBackgroundWork);
    report([{ sessionId: one.session.sessionId, holds: [{ category: 'task', id: '1' }] }]);
    expect(held()).toEqual([true, false]);
    report([{ sessionId: two.session.sessionId, holds: [{ category: 'task', id: '2' }] }, null, 7]);
    expect(held()).toEqual([false, true]);
    report('nothing of use');
    expect(held()).toEqual([false, false]);
  });
});
