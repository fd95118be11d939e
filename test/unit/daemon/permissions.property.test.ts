// However questions, votes, timeouts and cancels interleave: the agent hears each answer exactly once, clients too.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ApiError } from '../../../daemon/contract/errors.ts';
import { PERMISSION_POLICIES } from '../../../daemon/contract/wire.ts';
import { settled } from '../../support/manual-clock.ts';
import { type Question, SessionParts } from '../../support/session-parts.ts';

const RUNS = 300 * Number(process.env.QWEN_TEST_SCALE ?? 1);
const CLIENTS = ['ann', 'bob', 'eve'];

const vote = fc.record({
  kind: fc.constant('vote' as const),
  pick: fc.nat({ max: 10 }),
  optionId: fc.constantFrom('allow', 'reject', 'other', '__cancelled__', undefined),
  clientId: fc.constantFrom(...CLIENTS, 'mallory', undefined),
  peer: fc.constantFrom('loopback' as const, 'remote' as const),
});
type CastVote = typeof vote extends fc.Arbitrary<infer T> ? T : never;
const other = fc.record({ kind: fc.constantFrom('ask', 'ask', 'cancel', 'pass', 'end turn') });
const step = fc.oneof({ weight: 3, arbitrary: vote }, { weight: 2, arbitrary: other });

function castVote(parts: SessionParts, questions: readonly Question[], cast: CastVote): void {
  const { requestId = 'nobody' } = questions[cast.pick % Math.max(1, questions.length)] ?? {};
  const outcome =
    cast.optionId === undefined ? { outcome: 'cancelled' } : { outcome: 'selected', optionId: cast.optionId };
  try {
    parts.session.permissions.vote(requestId, { outcome }, { clientId: cast.clientId, peer: cast.peer });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

test('every question is answered to the agent exactly once, with what clients were told', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...PERMISSION_POLICIES),
      fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
      fc.array(step, { maxLength: 60 }),
      async (policy, consensusQuorum, steps) => {
        const parts = new SessionParts({
          permissions: { policy, consensusQuorum },
          limits: { permissionResponseTimeoutMs: 1000, maxPendingPermissions: 5 },
        });
        for (const clientId of CLIENTS) parts.join(clientId);
        const questions: Question[] = [];
        for (const taken of steps) {
          if (parts.session.turns.running === undefined) parts.prompt('hello', 'ann');
          if (taken.kind === 'vote') castVote(parts, questions, taken);
          else if (taken.kind === 'ask') questions.push(parts.ask());
          else if (taken.kind === 'cancel') void parts.session.turns.cancel(undefined);
          else if (taken.kind === 'pass') parts.clock.advance(400);
          else {
            parts.channel.next('session/prompt').answer({});
            await settled();
          }
        }
        parts.session.close('client_close');
        await settled();
        for (const { requestId, answers } of questions) {
          expect(answers).toHaveLength(1);
          const told = parts.events.filter(
            ({ type, data }) =>
              type === 'permission_resolved' && (data as { requestId?: string }).requestId === requestId,
          );
          // One over the cap was never shown.
          expect(told.map(({ data }) => (data as { outcome: unknown }).outcome)).toEqual(
            requestId === '' ? [] : [answers[0]?.outcome],
          );
        }
        expect(parts.session.permissions.openCount).toBe(0);
        expect(parts.clock.pending).toBe(0);
      },
    ),
    { numRuns: RUNS },
  );
});
