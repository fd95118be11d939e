import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Ballot, judgeVote, quorumOf } from '../../../daemon/domain/permission-policy.ts';

const ballot = (voters: string[], votes: [string, string][] = [], originator?: string): Ballot => ({
  originator,
  voters: new Set(voters),
  votes: new Map(votes),
});
const vote = (clientId: string | undefined, optionId = 'yes', peer: 'loopback' | 'remote' = 'loopback') => ({
  clientId,
  optionId,
  peer,
});

describe('first-responder', () => {
  test('anybody decides, anonymous and remote included', () => {
    expect(judgeVote('first-responder', ballot([]), vote(undefined, 'yes', 'remote'), undefined)).toEqual({
      kind: 'decide',
    });
  });
});

describe('designated', () => {
  test('the client of the prompt decides', () => {
    expect(judgeVote('designated', ballot(['a'], [], 'a'), vote('a'), undefined)).toEqual({ kind: 'decide' });
  });

  test.each(['b', undefined])('another voter (%s) is refused', (clientId) => {
    expect(judgeVote('designated', ballot(['a'], [], 'a'), vote(clientId), undefined)).toEqual({
      kind: 'refuse',
      reason: 'designated_mismatch',
    });
  });

  test('after an anonymous prompt anybody decides', () => {
    expect(judgeVote('designated', ballot(['a']), vote('b'), undefined)).toEqual({ kind: 'decide' });
  });
});

describe('local-only', () => {
  test('an anonymous voter on this machine decides', () => {
    expect(judgeVote('local-only', ballot([]), vote(undefined), undefined)).toEqual({ kind: 'decide' });
  });

  test('a remote voter is refused', () => {
    expect(judgeVote('local-only', ballot(['a']), vote('a', 'yes', 'remote'), undefined)).toEqual({
      kind: 'refuse',
      reason: 'remote_not_allowed',
    });
  });
});

describe('consensus', () => {
  test.each([
    [0, undefined, 1],
    [1, undefined, 1],
    [2, undefined, 2],
    [3, undefined, 2],
    [4, undefined, 3],
    [4, 2, 2],
    [2, 5, 2],
    [0, 3, 1],
  ])('%d voters with override %s need %d votes', (voters, override, quorum) => {
    expect(quorumOf(voters, override)).toBe(quorum);
  });

  test.each([undefined, 'stranger'])('a voter outside of the snapshot (%s) is refused', (clientId) => {
    expect(judgeVote('consensus', ballot(['a', 'b']), vote(clientId), undefined)).toEqual({
      kind: 'refuse',
      reason: 'designated_mismatch',
    });
  });

  test('below the quorum a vote is recorded and the standing says what is missing', () => {
    expect(judgeVote('consensus', ballot(['a', 'b', 'c', 'd'], [['a', 'no']]), vote('b'), undefined)).toEqual(
      {
        kind: 'record',
        standing: { votesReceived: 2, votesNeeded: 2, quorum: 3, optionTallies: { no: 1, yes: 1 } },
      },
    );
  });

  test('a second vote of a client changes nothing', () => {
    expect(judgeVote('consensus', ballot(['a', 'b'], [['a', 'no']]), vote('a'), undefined)).toEqual({
      kind: 'repeat',
    });
  });

  test('an option decides exactly when its votes reach the quorum, and votes needed is never below one', () => {
    const voters = ['a', 'b', 'c', 'd', 'e'];
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...voters), fc.constantFrom('x', 'y', 'z')), { maxLength: 12 }),
        fc.option(fc.integer({ min: 1, max: 7 }), { nil: undefined }),
        (votes, override) => {
          const cast = new Map<string, string>();
          const quorum = quorumOf(voters.length, override);
          for (const [clientId, optionId] of votes) {
            const verdict = judgeVote(
              'consensus',
              ballot(voters, [...cast]),
              vote(clientId, optionId),
              override,
            );
            if (cast.has(clientId)) {
              expect(verdict.kind).toBe('repeat');
              continue;
            }
            cast.set(clientId, optionId);
            const tally = [...cast.values()].filter((option) => option === optionId).length;
            expect(verdict.kind).toBe(tally >= quorum ? 'decide' : 'record');
            if (verdict.kind === 'decide') return;
            if (verdict.kind === 'record') expect(verdict.standing.votesNeeded).toBeGreaterThanOrEqual(1);
          }
        },
      ),
    );
  });
});
