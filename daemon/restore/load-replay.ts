// What an agent tells of a session's past when it loads it: in its answer, as a qwen agent does when asked to, or as a stream
// of updates before it.
import type { Params } from '../agent/agent.ts';
import { asRecord, isRecord } from '../contract/json-record.ts';
import { isOfTranscript } from '../domain/transcript.ts';

const REPLAY_KEY = 'qwen.session.loadReplay';
/** Updates of the past that are kept while an agent streams them; the oldest half goes when there are more. */
const MAX_COLLECTED = 200_000;

/** What is wrong with the past that is shown. */
export interface ReplayDamage {
  readonly partial?: true;
  readonly replayError?: string;
}

export interface Bulk {
  /** The answer without the replay. */
  readonly state: Params;
  readonly updates: readonly Params[];
  readonly damage: ReplayDamage;
  readonly hasMore: boolean;
}

/** The history that a qwen agent puts into its answer instead of streaming it. */
export function takeBulk(answer: Params): Bulk {
  const { [REPLAY_KEY]: replay, ...meta } = asRecord(answer._meta);
  const { _meta: _, ...rest } = answer;
  const state = Object.keys(meta).length === 0 ? rest : { ...rest, _meta: meta };
  const { updates, partial, replayError, hasMore } = asRecord(replay);
  return {
    state,
    updates: Array.isArray(updates) ? updates.filter(isRecord) : [],
    damage: {
      ...(partial === true ? { partial: true as const } : {}),
      ...(typeof replayError === 'string' ? { replayError } : {}),
    },
    hasMore: hasMore === true,
  };
}

/** What an agent streams of a session while it loads it. */
export class LoadReplay {
  dropped = 0;
  #updates: Params[] = [];

  add(params: Params): void {
    if (this.#updates.length >= MAX_COLLECTED)
      this.dropped += this.#updates.splice(0, MAX_COLLECTED / 2).length;
    this.#updates.push(params);
  }

  updates(): Params[] {
    return this.#updates.filter((params) => isOfTranscript('session_update', params));
  }

  /** What it said of the present: commands, mode. */
  rest(): Params[] {
    return this.#updates.filter((params) => !isOfTranscript('session_update', params));
  }
}
