// Who may decide an agent's permission question, policy by policy. Pure: takes a vote and the question's ballot, returns a
// verdict.
import type { Peer, PermissionPolicy } from '../contract/wire.ts';

export type PermissionOutcome =
  | { readonly outcome: 'selected'; readonly optionId: string }
  | { readonly outcome: 'cancelled' };

export interface Vote {
  readonly clientId: string | undefined;
  readonly peer: Peer;
  readonly optionId: string;
}

export interface Ballot {
  /** Client whose prompt led to the question; undefined when that client was anonymous. */
  readonly originator: string | undefined;
  /** Client ids registered when the question was asked. */
  readonly voters: ReadonlySet<string>;
  /** The votes that were recorded so far: client id -> option id. */
  readonly votes: ReadonlyMap<string, string>;
}

export type VoteVerdict =
  | { readonly kind: 'decide' }
  /** The vote is counted, the question stays open. */
  | { readonly kind: 'record'; readonly standing: Standing }
  /** The client has voted before: this vote is acknowledged, not counted. */
  | { readonly kind: 'repeat' }
  | { readonly kind: 'refuse'; readonly reason: 'designated_mismatch' | 'remote_not_allowed' };

export interface Standing {
  readonly votesReceived: number;
  readonly votesNeeded: number;
  readonly quorum: number;
  readonly optionTallies: Readonly<Record<string, number>>;
}

const DECIDE: VoteVerdict = { kind: 'decide' };

/** Judges a vote for an option that the agent offered. Only `consensus` uses `quorumOverride` (`--consensus-quorum`). */
export function judgeVote(
  policy: PermissionPolicy,
  ballot: Ballot,
  vote: Vote,
  quorumOverride: number | undefined,
): VoteVerdict {
  switch (policy) {
    case 'first-responder':
      return DECIDE;
    case 'local-only':
      return vote.peer === 'loopback' ? DECIDE : { kind: 'refuse', reason: 'remote_not_allowed' };
    case 'designated':
      return ballot.originator === undefined || ballot.originator === vote.clientId
        ? DECIDE
        : { kind: 'refuse', reason: 'designated_mismatch' };
    case 'consensus':
      return judgeConsensus(ballot, vote, quorumOf(ballot.voters.size, quorumOverride));
  }
}

/** Votes needed under `consensus`: min(override, M), or without `override` a majority of M, where M = max(1, voters). */
export function quorumOf(voters: number, override: number | undefined): number {
  const size = Math.max(1, voters);
  return override === undefined ? Math.floor(size / 2) + 1 : Math.min(override, size);
}

function judgeConsensus(ballot: Ballot, vote: Vote, quorum: number): VoteVerdict {
  if (vote.clientId === undefined || !ballot.voters.has(vote.clientId))
    return { kind: 'refuse', reason: 'designated_mismatch' };
  if (ballot.votes.has(vote.clientId)) return { kind: 'repeat' };
  // A map, because the agent chooses the option ids: the id `__proto__` would be lost in an object.
  const tallies = new Map<string, number>();
  for (const option of [...ballot.votes.values(), vote.optionId])
    tallies.set(option, (tallies.get(option) ?? 0) + 1);
  if ((tallies.get(vote.optionId) ?? 0) >= quorum) return DECIDE;
  const standing = {
    votesReceived: ballot.votes.size + 1,
    votesNeeded: Math.max(1, quorum - Math.max(...tallies.values())),
    quorum,
    optionTallies: Object.fromEntries(tallies),
  };
  return { kind: 'record', standing };
}
