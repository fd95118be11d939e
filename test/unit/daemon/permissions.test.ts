// The permission questions of a session: each row of the protocol's table of votes, and each policy.
import { describe, expect, test } from '@jest/globals';
import { ApiError } from '../../../daemon/contract/errors.ts';
import type { PermissionPolicy } from '../../../daemon/contract/wire.ts';
import { settled } from '../../support/manual-clock.ts';
import { OPTIONS, type PartsOptions, type Question, SessionParts } from '../../support/session-parts.ts';

const ALLOW = { outcome: { outcome: 'selected', optionId: 'allow' } };
const REJECT = { outcome: { outcome: 'selected', optionId: 'reject' } };
const CANCEL = { outcome: { outcome: 'cancelled' } };
const CANCELLED = { outcome: { outcome: 'cancelled' } };
const reason = (value: string) => ({ ...CANCELLED, _meta: { 'qwen.daemon.permissionCancelReason': value } });

type Body = Record<string, unknown>;

/** Three registered clients, a running prompt of the first one, and one question. */
class Room extends SessionParts {
  readonly question: Question;

  constructor(options: PartsOptions = {}) {
    super(options);
    for (const clientId of ['ann', 'bob', 'eve']) this.join(clientId);
    this.prompt('hello', 'ann');
    this.question = this.ask();
  }

  /** Votes; undefined for an anonymous voter. @returns what the route answers. */
  vote(
    body: Body = ALLOW,
    clientId: string | undefined = undefined,
    peer: 'loopback' | 'remote' = 'loopback',
  ): Body {
    return this.voteOn(this.question.requestId, body, clientId, peer);
  }

  voteOn(requestId: string, body: Body, clientId?: string, peer: 'loopback' | 'remote' = 'loopback'): Body {
    try {
      this.session.permissions.vote(requestId, body, { clientId, peer });
      return { status: 200 };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return { status: error.status, code: error.code, ...error.context };
    }
  }

  /** Words of what was said since the question. */
  get said(): string[] {
    const from = this.types.indexOf('permission_request');
    return this.story.slice(from + 1);
  }
}

const under = (policy: PermissionPolicy, consensusQuorum?: number) =>
  new Room({ permissions: { policy, consensusQuorum } });

describe('a question', () => {
  test('is shown with its options and belongs to the prompt and its client', () => {
    const room = new Room();
    const running = room.session.turns.running;
    expect(room.events.at(-1)).toMatchObject({
      type: 'permission_request',
      promptId: running?.promptId,
      originatorClientId: 'ann',
      data: {
        requestId: room.question.requestId,
        sessionId: 's-1',
        toolCall: { toolCallId: 'call-1', title: 'edit' },
        options: OPTIONS,
      },
    });
    expect(room.question.answers).toEqual([]);
  });

  test('of a background turn belongs to nobody', () => {
    const parts = new SessionParts();
    parts.ask();
    expect(Object.keys(parts.events[0] ?? {})).not.toContain('originatorClientId');
    expect(Object.keys(parts.events[0] ?? {})).not.toContain('promptId');
  });

  test('carries the prefix of the workspace in its id', () => {
    const room = new Room({ permissions: { requestIdPrefix: '0123456789abcdef.' } });
    expect(room.question.requestId).toMatch(/^0123456789abcdef\.[0-9a-f-]{36}$/);
  });

  test.each([[undefined], [null], ['allow'], [[1, null, 'x', { name: 'no id' }, { optionId: 7 }]]])(
    'with options of no use can only be cancelled: %j',
    async (options) => {
      const room = new Room();
      const question = room.ask({ options, toolCall: 7 });
      expect(room.events.at(-1)?.data).toMatchObject({ options: [], toolCall: {} });
      expect(room.voteOn(question.requestId, ALLOW)).toMatchObject({ code: 'invalid_option_id' });
      expect(room.voteOn(question.requestId, CANCEL)).toEqual({ status: 200 });
    },
  );

  test('is shown without an option that has an empty id, which would hide it from clients', () => {
    const room = new Room();
    const question = room.ask({ options: [{ optionId: '', name: 'Nothing' }, ...OPTIONS] });
    expect(room.events.at(-1)?.data).toMatchObject({ options: OPTIONS });
    expect(room.voteOn(question.requestId, ALLOW)).toEqual({ status: 200 });
  });

  test('that cannot be shown is answered as cancelled at once', async () => {
    const room = new Room();
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level += 1) deep = [deep];
    const question = room.ask({ toolCall: { deep } });
    await settled();
    expect([question.answers, room.session.permissions.openCount]).toEqual([[CANCELLED], 1]);
  });

  test('beyond the cap is answered as cancelled at once and not shown', async () => {
    const room = new Room();
    for (let open = 1; open < 64; open += 1) room.ask();
    const said = room.events.length;
    const question = room.ask();
    await settled();
    expect(question.answers).toEqual([CANCELLED]);
    expect(room.events).toHaveLength(said);
    room.vote();
    expect(room.ask().requestId).not.toBe('');
  });
});

describe('a vote', () => {
  test('decides: told first, with the voter, then answered', async () => {
    const room = new Room();
    expect(room.vote(ALLOW, 'bob')).toEqual({ status: 200 });
    // Said before the agent hears: its effects cannot come first on the bus.
    expect([room.said, room.question.answers]).toEqual([['permission_resolved selected'], []]);
    const { promptId, originatorClientId, data } = room.events.at(-1) ?? {};
    expect({ promptId, originatorClientId, data }).toEqual({
      promptId: room.session.turns.running?.promptId,
      originatorClientId: 'bob',
      data: { requestId: room.question.requestId, ...ALLOW, voterClientId: 'bob' },
    });
    await settled();
    expect(room.question.answers).toEqual([ALLOW]);
  });

  test('of nobody in particular names no voter', () => {
    const room = new Room();
    room.vote();
    expect(room.events.at(-1)?.data).toEqual({ requestId: room.question.requestId, ...ALLOW });
    expect(Object.keys(room.events.at(-1) ?? {})).not.toContain('originatorClientId');
  });

  test('may carry answers and a plan mode, which stand next to the outcome', async () => {
    const room = new Room();
    const extras = { answers: { q1: 'yes' }, expectedPlanExecutionMode: 'auto' };
    room.vote({ ...ALLOW, ...extras, colour: 'green' });
    await settled();
    expect(room.question.answers).toEqual([{ ...ALLOW, ...extras }]);
  });

  test.each([[{ q1: 7 }], [{ a: 'x', b: null }], ['text'], [[]], [{}]])(
    'carries no answers that are no texts: %j',
    async (answers) => {
      const room = new Room();
      room.vote({ ...ALLOW, answers });
      await settled();
      expect(room.question.answers).toEqual([ALLOW]);
    },
  );

  test.each([
    [{}],
    [{ outcome: 'selected' }],
    [{ outcome: {} }],
    [{ outcome: { outcome: 'selected' } }],
    [{ outcome: { outcome: 'selected', optionId: '' } }],
    [{ outcome: { outcome: 'selected', optionId: 7 } }],
    [{ outcome: { outcome: 'maybe', optionId: 'allow' } }],
    [{ outcome: null }],
    [{ outcome: [] }],
  ])('of a malformed outcome is 400 without a code: %j', (body) => {
    expect(new Room().vote(body)).toEqual({ status: 400, code: undefined });
  });

  test('on an unknown question is 404 without a code', () => {
    expect(new Room().voteOn('nobody', ALLOW)).toEqual({
      status: 404,
      code: undefined,
      requestId: 'nobody',
      sessionId: 's-1',
    });
  });

  test('for an option that was not offered is 400', () => {
    const room = new Room();
    const body = { outcome: { outcome: 'selected', optionId: 'toString' } };
    expect(room.vote(body)).toEqual({
      status: 400,
      code: 'invalid_option_id',
      requestId: room.question.requestId,
      optionId: 'toString',
    });
    expect(room.session.permissions.openCount).toBe(1);
  });

  test('of an unknown client is 400 and changes nothing', () => {
    const room = new Room();
    expect(room.vote(ALLOW, 'mallory')).toEqual({
      status: 400,
      code: 'invalid_client_id',
      sessionId: 's-1',
      clientId: 'mallory',
    });
    expect([room.said, room.session.permissions.openCount]).toEqual([[], 1]);
  });

  test('for the reserved option id is 400, though nobody offered it', () => {
    const body = { outcome: { outcome: 'selected', optionId: '__cancelled__' } };
    expect(new Room().vote(body)).toMatchObject({ status: 400, code: 'invalid_option_id' });
  });

  test('on a question that offers the reserved option id is 500 and says which', () => {
    const room = new Room();
    const question = room.ask({ options: [...OPTIONS, { optionId: '__cancelled__', name: 'X' }] });
    expect(room.voteOn(question.requestId, ALLOW)).toEqual({
      status: 500,
      code: 'cancel_sentinel_collision',
      requestId: question.requestId,
      sentinel: '__cancelled__',
    });
  });

  test('that comes late is 404, and the first outcome is told again without a voter', () => {
    const room = new Room();
    room.vote(REJECT, 'ann');
    expect(room.vote(ALLOW, 'bob')).toEqual({
      status: 404,
      code: undefined,
      requestId: room.question.requestId,
      sessionId: 's-1',
    });
    const { type, data, originatorClientId } = room.events.at(-1) ?? {};
    expect({ type, data, originatorClientId }).toEqual({
      type: 'permission_already_resolved',
      data: { requestId: room.question.requestId, sessionId: 's-1', ...REJECT },
      originatorClientId: undefined,
    });
  });

  test('is judged in the protocol’s order', () => {
    const reserved = { outcome: { outcome: 'selected', optionId: '__cancelled__' } };
    const other = { outcome: { outcome: 'selected', optionId: 'other' } };
    const room = under('designated');
    // An unknown question before an unknown client.
    expect(room.voteOn('nobody', reserved, 'mallory')).toMatchObject({ status: 404 });
    // An unknown client before the reserved option.
    expect(room.vote(reserved, 'mallory')).toMatchObject({ code: 'invalid_client_id' });
    // An option that was not offered before the policy.
    expect(room.vote(other, 'bob')).toMatchObject({ code: 'invalid_option_id' });
    room.vote(ALLOW, 'ann');
    // The reserved option before "already resolved".
    expect(room.vote(reserved, 'bob')).toMatchObject({ code: 'invalid_option_id' });
    // "Already resolved" before an option that was not offered, and before a cancel.
    expect(room.vote(other, 'bob')).toMatchObject({ status: 404 });
    expect(room.vote(CANCEL, 'bob')).toMatchObject({ status: 404 });
  });

  test('finds the last 512 resolved questions, older ones are unknown', () => {
    const room = new Room();
    const ids = Array.from({ length: 513 }, () => {
      const { requestId } = room.ask();
      room.voteOn(requestId, ALLOW);
      return requestId;
    });
    const [oldest = '', second = ''] = ids;
    const said = room.events.length;
    expect(room.voteOn(oldest, ALLOW)).toMatchObject({ status: 404 });
    expect([room.session.permissions.knows(oldest), room.events.length]).toEqual([false, said]);
    expect(room.voteOn(second, ALLOW)).toMatchObject({ status: 404 });
    expect([room.session.permissions.knows(second), room.types.at(-1)]).toEqual([
      true,
      'permission_already_resolved',
    ]);
  });
});

describe('a vote to cancel', () => {
  test.each([
    ['first-responder', undefined],
    ['designated', 'bob'],
    ['designated', undefined],
    ['consensus', 'eve'],
    ['consensus', undefined],
  ] as const)('resolves at once under %s, voter %s', async (policy, clientId) => {
    const room = under(policy);
    expect(room.vote(CANCEL, clientId)).toEqual({ status: 200 });
    await settled();
    expect([room.said, room.question.answers]).toEqual([
      ['permission_resolved cancelled'],
      [reason('agent_cancelled')],
    ]);
  });

  test('resolves under local-only for a remote peer too', () => {
    const room = under('local-only');
    expect(room.vote(CANCEL, 'bob', 'remote')).toEqual({ status: 200 });
  });

  test('of an unknown client does not', () => {
    expect(new Room().vote(CANCEL, 'mallory')).toMatchObject({ status: 400 });
  });
});

describe('the policy', () => {
  test('designated lets the prompt’s client decide and tells of the others’ attempts', () => {
    const room = under('designated');
    const refused = { requestId: room.question.requestId, sessionId: 's-1', reason: 'designated_mismatch' };
    expect(room.vote(ALLOW, 'bob')).toEqual({ status: 403, code: 'permission_forbidden', ...refused });
    expect(room.events.at(-1)).toMatchObject({
      type: 'permission_forbidden',
      originatorClientId: 'bob',
      data: { ...refused, clientId: 'bob' },
    });
    expect(room.vote(ALLOW)).toMatchObject({ status: 403 });
    expect(Object.keys(room.events.at(-1)?.data as object)).not.toContain('clientId');
    expect(room.vote(ALLOW, 'ann')).toEqual({ status: 200 });
  });

  test('designated lets anybody decide where the prompt was anonymous', () => {
    const parts = under('designated');
    const other = new SessionParts({ permissions: { policy: 'designated' } });
    other.prompt();
    const { requestId } = other.ask();
    other.session.permissions.vote(requestId, ALLOW, { clientId: undefined, peer: 'remote' });
    expect(other.types.at(-1)).toBe('permission_resolved');
    expect(parts.session.permissions.openCount).toBe(1);
  });

  test('local-only lets this machine decide, anonymous or not', () => {
    const room = under('local-only');
    expect(room.vote(ALLOW, 'ann', 'remote')).toMatchObject({ status: 403, reason: 'remote_not_allowed' });
    expect(room.types.at(-1)).toBe('permission_forbidden');
    expect(room.vote(ALLOW, undefined, 'loopback')).toEqual({ status: 200 });
  });

  test('consensus counts each registered client once, and the first option at the quorum wins', async () => {
    const room = under('consensus');
    expect(room.vote(ALLOW, 'ann')).toEqual({ status: 200 });
    expect(room.events.at(-1)).toMatchObject({
      type: 'permission_partial_vote',
      originatorClientId: 'ann',
      data: {
        requestId: room.question.requestId,
        sessionId: 's-1',
        votesReceived: 1,
        votesNeeded: 1,
        quorum: 2,
        optionTallies: { allow: 1 },
      },
    });
    const said = room.events.length;
    // A repeat is acknowledged, not counted, and cannot change the choice.
    expect(room.vote(REJECT, 'ann')).toEqual({ status: 200 });
    expect(room.events).toHaveLength(said);
    expect(room.vote(REJECT, 'bob')).toEqual({ status: 200 });
    expect(room.events.at(-1)?.data).toMatchObject({ votesReceived: 2, votesNeeded: 1 });
    expect(room.vote(ALLOW, 'eve')).toEqual({ status: 200 });
    await settled();
    expect([room.said.at(-1), room.question.answers]).toEqual(['permission_resolved selected', [ALLOW]]);
  });

  test('consensus refuses anonymous voters and those who joined after the question', () => {
    const room = under('consensus');
    room.join('late');
    expect(room.vote(ALLOW)).toMatchObject({ status: 403, reason: 'designated_mismatch' });
    expect(room.vote(ALLOW, 'late')).toMatchObject({ status: 403, reason: 'designated_mismatch' });
    expect(room.session.permissions.openCount).toBe(1);
  });

  test('consensus stays open on a split vote', () => {
    const room = new Room({ permissions: { policy: 'consensus', consensusQuorum: 3 } });
    for (const [clientId, body] of [
      ['ann', ALLOW],
      ['bob', ALLOW],
      ['eve', REJECT],
    ] as const)
      room.vote(body, clientId);
    expect([room.session.permissions.openCount, room.question.answers]).toEqual([1, []]);
  });

  test.each([
    [1, 1],
    [3, 3],
    [9, 3],
  ])('consensus with a quorum of %d among three needs %d', (consensusQuorum, needed) => {
    const room = under('consensus', consensusQuorum);
    const voters = ['ann', 'bob', 'eve'].slice(0, needed);
    for (const clientId of voters) {
      expect(room.session.permissions.openCount).toBe(1);
      room.vote(ALLOW, clientId);
    }
    expect(room.session.permissions.openCount).toBe(0);
  });

  test('consensus counts options of any name', () => {
    const room = under('consensus');
    const { requestId } = room.ask({ options: [{ optionId: '__proto__', name: 'odd' }] });
    const body = { outcome: { outcome: 'selected', optionId: '__proto__' } };
    room.voteOn(requestId, body, 'ann');
    expect(room.events.at(-1)?.data).toMatchObject({ votesNeeded: 1 });
    room.voteOn(requestId, body, 'bob');
    expect(room.types.at(-1)).toBe('permission_resolved');
  });
});

describe('without a vote', () => {
  test('a question waits for ever by default', () => {
    const room = new Room();
    room.clock.advance(2 ** 40);
    expect(room.session.permissions.openCount).toBe(1);
  });

  test('the timeout resolves it as cancelled and tells the agent why', async () => {
    const room = new Room({ limits: { permissionResponseTimeoutMs: 1000 } });
    room.clock.advance(999);
    expect(room.said).toEqual([]);
    room.clock.advance(1);
    await settled();
    expect([room.said, room.question.answers]).toEqual([
      ['permission_resolved cancelled'],
      [reason('timeout')],
    ]);
    expect(Object.keys(room.events.at(-1)?.data as object)).not.toContain('voterClientId');
  });

  test('the timeout of a question that was decided is gone with it', () => {
    const room = new Room({ limits: { permissionResponseTimeoutMs: 1000 } });
    room.vote();
    expect(room.clock.pending).toBe(0);
  });

  test('a cancel of the prompt says that it was the agent’s turn that was cancelled', async () => {
    const room = new Room();
    await room.session.turns.cancel(undefined);
    expect(room.question.answers).toEqual([reason('agent_cancelled')]);
  });

  test('the end of the turn leaves no question behind', async () => {
    const room = new Room();
    room.channel.next('session/prompt').answer({ stopReason: 'end_turn' });
    await settled();
    expect(room.said).toEqual(['permission_resolved cancelled', 'turn_complete end_turn']);
    expect(room.question.answers).toEqual([reason('agent_cancelled')]);
  });

  test('the end of the session resolves it before the last event', async () => {
    const room = new Room();
    room.session.close('client_close');
    await settled();
    expect(room.said).toEqual([
      'turn_error session_closed',
      'permission_resolved cancelled',
      'session_closed client_close',
    ]);
    expect(room.question.answers).toEqual([reason('session_closed')]);
  });
});
