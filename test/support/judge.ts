// What became of everything that was acknowledged: of every prompt how it ended; of every session that it answers, or which
// of the faults explains its end. An end that no fault explains is a loss, whatever reason the store has for it.
import type { DatabaseRow } from './state-database.ts';
import { rowsOf } from './state-database.ts';
import type { AcknowledgedPrompt } from './witness.ts';

/** The faults that were dealt so far. */
export interface Dealt {
  readonly faults: readonly string[];
  readonly agentKills: readonly AgentKill[];
}

export interface AgentKill {
  /** Of the daemon that had the agent. */
  readonly incarnation: string;
  /** Wall-clock time just before the blow. */
  readonly atMs: number;
}

export interface SessionEnd {
  readonly incarnation: string;
  readonly reason: string;
  readonly atMs: number;
}

/**
 * Whether a fault explains that the session ended, and ended like this. Only the agent's own death does, where the agent can
 * load: sessions come back from a daemon's death and a coordinator's, and no client of an ordeal closes any.
 */
export function isExplained({ reason, incarnation, atMs }: SessionEnd, { agentKills }: Dealt): boolean {
  return (
    reason === 'channel_closed' &&
    agentKills.some((kill) => kill.incarnation === incarnation && kill.atMs <= atMs)
  );
}

/** A session as the store has it; undefined where it knows none. */
export function storedSession(
  stateDir: string,
  sessionId: string,
): { readonly state: string; readonly end: SessionEnd } | undefined {
  const row = rowsOf(
    stateDir,
    'SELECT state, incarnation, end_reason, ended_at_ms FROM sessions WHERE session_id = ?',
    sessionId,
  )[0];
  return row === undefined ? undefined : { state: String(row.state), end: endOf(row) };
}

function endOf({ incarnation, end_reason, ended_at_ms }: DatabaseRow): SessionEnd {
  return { incarnation: String(incarnation), reason: String(end_reason), atMs: Number(ended_at_ms) };
}

/** Why this session is lost; undefined when it is open, or ended by a fault that was dealt. */
export function lossOf(stateDir: string, sessionId: string, dealt: Dealt): string | undefined {
  const stored = storedSession(stateDir, sessionId);
  if (stored === undefined) return `session ${sessionId} was acknowledged and is unknown`;
  if (stored.state !== 'closed' || isExplained(stored.end, dealt)) return undefined;
  const { reason, incarnation } = stored.end;
  const faults = dealt.faults.join(', ') || 'none';
  return `session ${sessionId} of ${incarnation} is lost: closed by ${reason}, which no fault explains (dealt: ${faults})`;
}

export type Fate = 'completed' | 'reported' | 'stored' | 'lost';

/** How an acknowledged prompt ended: on a stream, or in the store alone, or not at all. */
export function fateOf(stateDir: string, { promptId, ends }: AcknowledgedPrompt): Fate {
  if (ends[0] === 'turn_complete') return 'completed';
  if (ends.length > 0) return 'reported';
  const row = rowsOf(stateDir, 'SELECT state FROM prompts WHERE prompt_id = ?', promptId)[0];
  return row?.state === 'completed' || row?.state === 'failed' ? 'stored' : 'lost';
}
