// The end of a daemon: why it is ended (`causeOf`), how it counts for restarts (`Deaths`), its record (`DeathRecorder`).
import type { Clock } from '../../../daemon/contract/clock.ts';
import { messageOf } from '../../../daemon/contract/errors.ts';
import type { FeedBeat } from '../../../daemon/contract/feed.ts';
import { type Log, truncated } from '../../../daemon/contract/log.ts';
import type { Event, State } from '../../domain/daemon-state.ts';
import { type Death, judgeDeath, type RestartVerdict, retryAfterOf } from '../../domain/restart-policy.ts';
import type { DaemonEndKind } from '../../domain/session.ts';
import type { DaemonExit } from '../../launch/launcher.ts';
import { isStorageRefusal } from '../../store/storage-refusal.ts';
import type { Daemons, Store } from '../../store/store.ts';
import type { DaemonView, WorkspaceKey } from '../fleet.ts';
import { lastExitOf } from '../records/last-exit.ts';
import type { SessionRecorder, Source } from '../records/session-recorder.ts';
import * as refusals from '../refusals.ts';
import type { RestorableWorkspaces } from '../restorable-workspaces.ts';
import type { SuperviseSettings } from '../settings.ts';

export type SpawnFailed = Extract<Event, { type: 'spawn_failed' }>;

/** Why the coordinator ends an incarnation. */
export interface EndCause {
  readonly reason: string;
  /** `died` when the daemon is given up; with every other kind its end was wanted. */
  readonly kind: DaemonEndKind;
}

/** Why `event` makes the coordinator end the incarnation; undefined for an event that does not. */
export function causeOf(event: Event): EndCause | undefined {
  switch (event.type) {
    case 'stop':
    case 'idle':
      return { reason: event.reason, kind: event.type === 'idle' ? 'idle' : event.kind };
    case 'boot_timeout':
    case 'beats_lost':
      return { reason: event.why, kind: 'died' };
    case 'start_failed':
      // When the database refused to store the start, nothing is wrong with the daemon.
      return { reason: messageOf(event.error), kind: isStorageRefusal(event.error) ? 'stopped' : 'died' };
    case 'adopted':
      return event.isEnding
        ? { reason: 'it was ending already when it was found', kind: 'stopped' }
        : undefined;
    default:
      return undefined;
  }
}

/** The kind of end for the restart policy. @param cause undefined when the daemon ended unasked. */
export function endOf(cause: EndCause | undefined): Death['end'] {
  if (cause === undefined) return 'own';
  return cause.kind === 'died' ? 'given_up' : 'asked';
}

/** What follows the end of a daemon, and by which limits of the restart policy; part of the event row. */
export interface Next {
  readonly state?: State;
  /** Time until the next start is tried (`backoff`) or allowed (`failed`). */
  readonly afterMs?: number;
  /** Number of deaths within `periodMs`; more than `intensity` lead to `failed`. */
  readonly deaths?: number;
  readonly intensity?: number;
  readonly periodMs?: number;
}

interface DeathsDeps {
  readonly store: { readonly events: Pick<Store['events'], 'story'> };
  readonly clock: Clock;
  readonly settings: Pick<SuperviseSettings, 'restart'>;
  /** Returns a random number in [0, 1), for the jitter of restarts. */
  readonly random: () => number;
}

/** The deaths of one workspace's daemons: counts them, judges what follows, and makes the refusals for waiting requests. */
export class Deaths {
  readonly #workspace: WorkspaceKey;
  readonly #deps: DeathsDeps;
  /** Monotonic times of the deaths that count for the restart policy. */
  #history: readonly number[] = [];
  /** The restart policy's verdict on the last death. */
  #verdict: RestartVerdict = { kind: 'clean' };
  lastExit: DaemonView['lastExit'];

  constructor(workspace: WorkspaceKey, deps: DeathsDeps) {
    this.#workspace = workspace;
    this.#deps = deps;
    this.lastExit = lastExitOf(deps.store, workspace.id);
  }

  /** Counts a death and returns the verdict of the restart policy, which is in force only after `follow`. */
  judge(death: Death): RestartVerdict {
    const { clock, settings, random } = this.#deps;
    const judgement = judgeDeath(death, {
      history: this.#history,
      nowMs: clock.monotonicMs(),
      policy: settings.restart,
      random: random(),
    });
    this.#history = judgement.history;
    return judgement.verdict;
  }

  /** Counts a start that made no process as a death, unless the store refused its row. Returns the event for the state table. */
  judgeSpawn(error: unknown): SpawnFailed {
    const end = isStorageRefusal(error) ? 'asked' : 'own';
    return { type: 'spawn_failed', error, verdict: this.judge({ end, wasReady: false, code: null }) };
  }

  follow(verdict: RestartVerdict): void {
    this.#verdict = verdict;
  }

  /** Forgets the deaths so far for the restart policy. Keeps `lastExit` for diagnostics. */
  forget(): void {
    this.#history = [];
    this.#verdict = { kind: 'clean' };
  }

  get retryAfterMs(): number {
    return retryAfterOf(this.#verdict, this.#deps.clock.monotonicMs());
  }

  /** The refusal while the workspace cools off; undefined in any `state` but `failed`, and once the cool-off is over. */
  coolOffRefusal(state: State): Error | undefined {
    const leftMs = this.retryAfterMs;
    if (state !== 'failed' || leftMs <= 0) return undefined;
    const { periodMs } = this.#deps.settings.restart;
    return refusals.failed(this.#workspace, {
      deaths: this.#history.length,
      periodMs,
      lastReason: this.lastExit?.reason,
      leftMs,
    });
  }

  refusalAfter(event: Event): Error {
    return refusals.refusalAfter(event, this.#workspace, this.retryAfterMs, this.lastExit);
  }

  /** The restart policy's verdict for the event row. @param state that the verdict leads to; undefined when unknown. */
  nextAfter(state: State | undefined, verdict: RestartVerdict): Next {
    const { clock, settings } = this.#deps;
    const { intensity, periodMs } = settings.restart;
    const known = state === undefined ? {} : { state };
    if (verdict.kind === 'clean') return known;
    const afterMs = Math.round(retryAfterOf(verdict, clock.monotonicMs()));
    return { ...known, afterMs, deaths: this.#history.length, intensity, periodMs };
  }
}

/** What the coordinator saw of a daemon while it ran; part of the event row of its end. */
export interface Watched {
  readonly wasReady: boolean;
  /** True when neither an operator nor a rule of the coordinator ended the daemon. */
  readonly isUnasked: boolean;
  /** The daemon's last beats, oldest first. */
  readonly beats: readonly FeedBeat[];
}

export interface DeathRecord {
  readonly source: Source;
  readonly exit: DaemonExit;
  readonly reason: string;
  readonly kind: DaemonEndKind;
  /** Absent for a daemon that was found gone when the coordinator searched it. */
  readonly watched?: Watched;
  readonly next: Next;
}

export interface DeathRecorderDeps {
  readonly daemons: Pick<Daemons, 'setEnded'>;
  readonly recorder: Pick<SessionRecorder, 'moved'>;
  readonly restorable: Pick<RestorableWorkspaces, 'add'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Longest log line in the record of a daemon's end; of a longer line the beginning is kept. */
const MAX_LINE_CHARS = 500;

/** Records the end of a daemon: its row, its sessions and the event row for `why`, in one transaction. */
export class DeathRecorder {
  readonly #deps: DeathRecorderDeps;

  constructor(deps: DeathRecorderDeps) {
    this.#deps = deps;
  }

  /**
   * Records a daemon's end and moves its sessions to their next state; adds the workspace to `restorable` if any of them is
   * `restoring` then. A refusal of the store is only logged: the row stays unended, and the next reconciliation records the end.
   */
  record(death: DeathRecord): void {
    const { daemons, recorder, restorable, clock, log } = this.#deps;
    const { exit, reason, kind } = death;
    const { workspaceId, incarnation } = death.source;
    const { code, signal } = exit;
    try {
      const moved = daemons.setEnded(incarnation, {
        atMs: clock.nowMs(),
        code,
        signal,
        reason,
        kind,
        event: { kind: kind === 'died' ? 'daemon_died' : 'daemon_stopped', detail: detailOf(death) },
      });
      recorder.moved(workspaceId, moved);
      // In a later turn of the event loop, because the dead daemon's route is withdrawn only after this call.
      if (moved.some(({ state }) => state === 'restoring')) setImmediate(() => restorable.add(workspaceId));
    } catch (error) {
      log.error({ err: error, incarnation }, 'a daemon’s end could not be recorded yet');
    }
  }
}

function detailOf({ exit, kind, watched, next }: DeathRecord): Readonly<Record<string, unknown>> {
  const { strays, oomKills, peakBytes, hostOomKills, lastLines } = exit;
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
  return { ...end, ...watched, hostOomKills, beats, lastLines: lines };
}
