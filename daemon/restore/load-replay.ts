// The past of a session as an agent replays it while loading the session: all at once in the answer to `session/load`, as a qwen
// agent does when asked to, or as a stream of updates before that answer.
import type { Params } from '../agent/agent.ts';
import { asRecord, isRecord } from '../contract/json-record.ts';
import { isOfTranscript } from '../domain/transcript.ts';

const REPLAY_KEY = 'qwen.session.loadReplay';
/** How many streamed updates are kept of one load; when there are more, the oldest half is dropped. */
const MAX_COLLECTED = 200_000;

/** What is missing from the past that a client gets in the answer to its load. */
export interface ReplayDamage {
  readonly partial?: true;
  readonly replayError?: string;
}

/** The agent's answer to `session/load`, split into the state of the session and the replay that was in the answer. */
export interface Bulk {
  /** The agent's answer without the replay in it. */
  readonly state: Params;
  readonly updates: readonly Params[];
  readonly damage: ReplayDamage;
  readonly hasMore: boolean;
}

/**
 * Separates the agent's answer to `session/load` from the replay in it, which a qwen agent puts there instead of streaming it.
 */
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

/** Collects the updates that an agent streams of a session while it loads the session. */
export class LoadReplay {
  /** How many collected updates were dropped, because there were more than MAX_COLLECTED. */
  dropped = 0;
  #updates: Params[] = [];

  add(params: Params): void {
    if (this.#updates.length >= MAX_COLLECTED)
      this.dropped += this.#updates.splice(0, MAX_COLLECTED / 2).length;
    this.#updates.push(params);
  }

  /** The collected updates that belong to the session's transcript. */
  updates(): Params[] {
    return this.#updates.filter((params) => isOfTranscript('session_update', params));
  }

  /** The collected updates that do not belong to the transcript, but describe the session's present state: commands, mode. */
  rest(): Params[] {
    return this.#updates.filter((params) => !isOfTranscript('session_update', params));
  }
}
