// Whatever happens to a session's prompts, in whatever order: each accepted one ends exactly once, and one runs at a time.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { AgentCallError } from '../../../daemon/agent/agent.ts';
import type { EventEnvelope } from '../../../daemon/contract/wire.ts';
import { CRASH } from '../../support/fake-channel.ts';
import { settled } from '../../support/manual-clock.ts';
import { SessionParts } from '../../support/session-parts.ts';

const RUNS = 400 * Number(process.env.QWEN_TEST_SCALE ?? 1);

type Step =
  | { readonly kind: 'submit' | 'cancel' | 'message' | 'drain' | 'ask' | 'settle' }
  /** `pick` chooses among what there is. */
  | { readonly kind: 'remove' | 'answer' | 'fail'; readonly pick: number }
  | { readonly kind: 'pass'; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Step>({ kind: 'submit' }) },
  {
    weight: 4,
    arbitrary: fc.constantFrom<Step>(
      { kind: 'cancel' },
      { kind: 'message' },
      { kind: 'drain' },
      { kind: 'ask' },
      { kind: 'settle' },
    ),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('remove' as const, 'answer' as const, 'fail' as const),
      pick: fc.nat({ max: 20 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat({ max: 1500 }) }) },
);

const ending = fc.constantFrom('close', 'crash', 'crash told later', 'shutdown');

/** A session and what the test has put into it. */
class Run {
  readonly parts = new SessionParts({
    limits: { promptDeadlineMs: 1000, agentKillGraceMs: 400, initializeTimeoutMs: 300 },
  });
  readonly accepted: string[] = [];
  readonly messages: string[] = [];
  readonly questions: { readonly answers: readonly unknown[] }[] = [];

  async take(taken: Step): Promise<void> {
    const { session, clock, channel } = this.parts;
    switch (taken.kind) {
      case 'submit':
        if (session.turns.waiting.length < 4) this.accepted.push(this.parts.prompt());
        return;
      case 'message': {
        const answer = session.turns.addMidTurn('message', undefined);
        if (answer.accepted) this.messages.push(answer.messageId);
        return;
      }
      case 'drain':
        session.turns.drainMidTurn();
        return;
      case 'ask':
        this.questions.push(this.parts.ask());
        return;
      case 'cancel':
        void session.turns.cancel(undefined);
        return;
      case 'remove': {
        const known = [...this.accepted, ...this.messages];
        session.turns.remove(known[taken.pick % known.length] ?? '', undefined);
        return;
      }
      case 'answer':
      case 'fail': {
        const calls = channel.open('session/prompt');
        const call = calls[taken.pick % calls.length];
        if (taken.kind === 'answer') call?.answer({ stopReason: 'end_turn' });
        else call?.fail(new AgentCallError(-32000, 'failed'));
        return;
      }
      case 'pass':
        clock.advance(taken.ms);
        return;
      case 'settle':
        await settled();
    }
  }

  async end(how: string): Promise<void> {
    const { session, channel } = this.parts;
    if (how === 'close') session.close('client_close');
    else if (how === 'shutdown') session.daemonStops();
    else {
      channel.die();
      if (how === 'crash told later') await settled();
      session.agentDied(CRASH);
    }
    await settled();
    this.parts.clock.advance(10_000);
    await settled();
  }
}

const isTerminal = ({ type }: EventEnvelope) => type === 'turn_complete' || type === 'turn_error';
const isEcho = ({ data }: EventEnvelope) =>
  (data as { update?: { sessionUpdate?: string } }).update?.sessionUpdate === 'user_message_chunk';
const isOf = (promptId: string) => (event: EventEnvelope) => event.promptId === promptId;

/** What clients may rely on, whatever happened. */
function check({ parts, accepted, messages, questions }: Run): void {
  const { events } = parts;
  const ran = events.filter(isEcho).map(({ promptId }) => promptId as string);
  for (const promptId of accepted) {
    expect(events.filter(isOf(promptId)).filter(isTerminal)).toHaveLength(1);
    const own = events.filter(isOf(promptId)).filter((event) => isEcho(event) || isTerminal(event));
    expect(own.map(isTerminal)).toEqual(ran.includes(promptId) ? [false, true] : [true]);
  }
  // A message is drained, taken out, or runs as a prompt; only the last has an end of its own.
  for (const messageId of messages) {
    const own = events.filter(isOf(messageId));
    expect(own.filter(isTerminal).length).toBeLessThanOrEqual(1);
    expect(own.filter(({ type }) => type === 'pending_prompt_completed')).toHaveLength(1);
  }
  expect(ran.filter((id) => accepted.includes(id))).toEqual(accepted.filter((id) => ran.includes(id)));
  let running: string | undefined;
  for (const event of events) {
    if (isEcho(event)) {
      expect(running).toBeUndefined();
      running = event.promptId;
    } else if (isTerminal(event) && event.promptId === running) running = undefined;
  }
  expect(running).toBeUndefined();
  for (const question of questions) expect(question.answers).toHaveLength(1);
  expect(events.filter(({ type }) => type === 'session_closed' || type === 'session_died')).toEqual([
    events.at(-1),
  ]);
}

test('every accepted prompt ends exactly once, in order, one at a time, whatever happens when', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), ending, async (steps, how) => {
      const run = new Run();
      for (const taken of steps) await run.take(taken);
      await run.end(how);
      check(run);
      expect(run.parts.session.turns.isIdle).toBe(true);
      expect(run.parts.channel.pauses).toBe(0);
    }),
    { numRuns: RUNS },
  );
});

test('a prompt counts for the coordinator as it does for clients: queued, maybe running, then one end', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), ending, async (steps, how) => {
      const run = new Run();
      for (const taken of steps) await run.take(taken);
      await run.end(how);
      for (const promptId of run.accepted) {
        const states = run.parts.steps.filter((told) => told.promptId === promptId).map(({ state }) => state);
        expect(states.join(' ')).toMatch(/^queued( running)? (completed|failed)$/);
      }
    }),
    { numRuns: RUNS },
  );
});
