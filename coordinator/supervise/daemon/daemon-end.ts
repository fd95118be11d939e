// The record of a death: the row's end, its sessions' end and the event that `why` tells, in one transaction.
import type { FeedBeat } from '../../../daemon/contract/feed.ts';
import { truncated } from '../../../daemon/contract/log.ts';
import type { State } from '../../domain/daemon-state.ts';
import { type RestartPolicy, type RestartVerdict, retryAfterOf } from '../../domain/restart-policy.ts';
import type { DaemonEndKind } from '../../domain/session.ts';
import type { DaemonExit } from '../../launch/launcher.ts';
import type { Source } from '../records/session-recorder.ts';
import type { SupervisorDeps } from './deps.ts';

/** A line of a daemon's log may be as long as it likes; the record keeps its beginning. */
const MAX_LINE_CHARS = 500;

/** What was seen of a daemon while it ran. */
export interface Watched {
  readonly wasReady: boolean;
  /** Neither an operator nor a rule of ours ended it. */
  readonly isUnasked: boolean;
  /** Its last beats, oldest first. */
  readonly beats: readonly FeedBeat[];
  /** Processes that the host's oom killer ended meanwhile, whosever; null where that is not counted. */
  readonly hostOomKills: number | null;
}

/** What follows, and by which rule. */
export interface Next {
  readonly state?: State;
  /** Until the next start is tried, or allowed. */
  readonly afterMs?: number;
  /** Deaths that count against `intensity` within `periodMs`. */
  readonly deaths?: number;
  readonly intensity?: number;
  readonly periodMs?: number;
}

export interface DeathRecord {
  readonly source: Source;
  readonly exit: DaemonExit;
  readonly reason: string;
  readonly kind: DaemonEndKind;
  /** Absent for a daemon that was found gone. */
  readonly watched?: Watched;
  readonly next: Next;
}

/** What the restart policy's verdict means for a person. `nowMs` is monotonic, `deaths` counts those of the period. */
export function nextAfter(
  state: State | undefined,
  verdict: RestartVerdict,
  nowMs: number,
  { intensity, periodMs }: RestartPolicy,
  deaths: number,
): Next {
  const known = state === undefined ? {} : { state };
  if (verdict.kind === 'clean') return known;
  return { ...known, afterMs: Math.round(retryAfterOf(verdict, nowMs)), deaths, intensity, periodMs };
}

/**
 * Writes the death and moves its sessions on; the restorer hears of those that are to come back. A store that refuses is
 * logged only: the row stays unended, and the next reconciliation finds the process gone.
 */
export function recordDeath(deps: SupervisorDeps, death: DeathRecord): void {
  const { store, recorder, clock, log } = deps;
  const { exit, reason, kind } = death;
  const { workspaceId, incarnation } = death.source;
  const { code, signal } = exit;
  try {
    const moved = store.daemons.setEnded(incarnation, {
      atMs: clock.nowMs(),
      code,
      signal,
      reason,
      kind,
      event: { kind: kind === 'died' ? 'daemon_died' : 'daemon_stopped', detail: detailOf(death) },
    });
    recorder.moved(workspaceId, moved);
    // In a later turn: this one still has to withdraw the dead daemon's route.
    if (moved.some(({ state }) => state === 'restoring'))
      setImmediate(() => deps.restorable.add(workspaceId));
  } catch (error) {
    log.error({ err: error, incarnation }, 'a daemon’s end could not be recorded yet');
  }
}

function detailOf({ exit, kind, watched, next }: DeathRecord): Readonly<Record<string, unknown>> {
  const { strays, oomKills, peakBytes, lastLines } = exit;
  const end = { end: kind, strays, oomKills, peakBytes, next };
  const lines = lastLines.map((line) => truncated(line, MAX_LINE_CHARS));
  if (watched === undefined) return { ...end, lastLines: lines };
  const beats = watched.beats.map(({ atMs, rssBytes, agentRssBytes, sessions, activePrompts }) => ({
    atMs,
    rssBytes,
    agentRssBytes,
    sessions,
    activePrompts,
  }));
  return { ...end, ...watched, beats, lastLines: lines };
}
