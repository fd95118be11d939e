// The end of a daemon: why it is ended, how its death counts and what follows, and the record of it.
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

/** Why an incarnation is ended, from the moment that it was decided. */
export interface EndCause {
  readonly reason: string;
  /** `died` when the daemon is given up on; the others were wanted. */
  readonly kind: DaemonEndKind;
}

/** Why this event ends an incarnation; undefined for an event that ends none. */
export function causeOf(event: Event): EndCause | undefined {
  switch (event.type) {
    case 'stop':
    case 'idle':
      return { reason: event.reason, kind: event.type === 'idle' ? 'idle' : event.kind };
    case 'boot_timeout':
    case 'beats_lost':
      return { reason: event.why, kind: 'died' };
    case 'start_failed':
      // Where the database could not store the start, nothing is wrong with the daemon.
      return { reason: messageOf(event.error), kind: isStorageRefusal(event.error) ? 'stopped' : 'died' };
    case 'adopted':
      return event.isEnding
        ? { reason: 'it was ending already when it was found', kind: 'stopped' }
        : undefined;
    default:
      return undefined;
  }
}

/** The cause in the words of the restart policy; undefined is an end that nobody wanted. */
export function endOf(cause: EndCause | undefined): Death['end'] {
  if (cause === undefined) return 'own';
  return cause.kind === 'died' ? 'given_up' : 'asked';
}

/** What follows a death, and by which rule. */
export interface Next {
  readonly state?: State;
  /** Time until the next start is tried, or allowed. */
  readonly afterMs?: number;
  /** Deaths that count against `intensity` within `periodMs`. */
  readonly deaths?: number;
  readonly intensity?: number;
  readonly periodMs?: number;
}

interface DeathsDeps {
  readonly store: { readonly events: Pick<Store['events'], 'story'> };
  readonly clock: Clock;
  readonly settings: Pick<SuperviseSettings, 'restart'>;
  /** A number in [0, 1), for the jitter of retries. */
  readonly random: () => number;
}

/** The deaths of one workspace's daemons: how they count, what follows the last, and what requests hear of it. */
export class Deaths {
  readonly #workspace: WorkspaceKey;
  readonly #deps: DeathsDeps;
  /** Monotonic times of the deaths that count. */
  #history: readonly number[] = [];
  /** What the last death led to. */
  #verdict: RestartVerdict = { kind: 'clean' };
  lastExit: DaemonView['lastExit'];

  constructor(workspace: WorkspaceKey, deps: DeathsDeps) {
    this.#workspace = workspace;
    this.#deps = deps;
    this.lastExit = lastExitOf(deps.store, workspace.id);
  }

  /** Counts a death, and says what follows; the verdict is in force once the state table has taken it (`follow`). */
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

  /** Counts a start for which no process could be made; a start whose row the store refused counts as no death. */
  judgeSpawn(error: unknown): SpawnFailed {
    const end = isStorageRefusal(error) ? 'asked' : 'own';
    return { type: 'spawn_failed', error, verdict: this.judge({ end, wasReady: false, code: null }) };
  }

  follow(verdict: RestartVerdict): void {
    this.#verdict = verdict;
  }

  /** The deaths so far count no more; the last exit is kept for diagnostics. */
  forget(): void {
    this.#history = [];
    this.#verdict = { kind: 'clean' };
  }

  get retryAfterMs(): number {
    return retryAfterOf(this.#verdict, this.#deps.clock.monotonicMs());
  }

  /** Why no start is tried in `state`; undefined when one may be. */
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

  /** What the restart policy's verdict means for a person, where it leads to `state`. */
  nextAfter(state: State | undefined, verdict: RestartVerdict): Next {
    const { clock, settings } = this.#deps;
    const { intensity, periodMs } = settings.restart;
    const known = state === undefined ? {} : { state };
    if (verdict.kind === 'clean') return known;
    const afterMs = Math.round(retryAfterOf(verdict, clock.monotonicMs()));
    return { ...known, afterMs, deaths: this.#history.length, intensity, periodMs };
  }
}

/** What the coordinator saw of a daemon while it ran. */
export interface Watched {
  readonly wasReady: boolean;
  /** Neither an operator nor a rule of the coordinator ended the daemon. */
  readonly isUnasked: boolean;
  /** The daemon's last beats, oldest first. */
  readonly beats: readonly FeedBeat[];
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

export interface DeathRecorderDeps {
  readonly daemons: Pick<Daemons, 'setEnded'>;
  readonly recorder: Pick<SessionRecorder, 'moved'>;
  readonly restorable: Pick<RestorableWorkspaces, 'add'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** A line of a daemon's log may be as long as it likes; the record keeps its beginning. */
const MAX_LINE_CHARS = 500;

/** Records deaths: the row's end, its sessions' end and the event that `why` shows, in one transaction. */
export class DeathRecorder {
  readonly #deps: DeathRecorderDeps;

  constructor(deps: DeathRecorderDeps) {
    this.#deps = deps;
  }

  /**
   * Writes the death and moves its sessions on; the restorer hears of those that are to come back. A store that refuses is
   * logged only: the row stays unended, and the next reconciliation finds the process gone.
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
      // In a later turn of the event loop: this turn still has to withdraw the dead daemon's route.
      if (moved.some(({ state }) => state === 'restoring')) setImmediate(() => restorable.add(workspaceId));
    } catch (error) {
      log.error({ err: error, incarnation }, 'a daemon’s end could not be recorded yet');
    }
  }
}

function detailOf({ exit, kind, watched, next }: DeathRecord): Readonly<Record<string, unknown>> {
  const { strays, oomKills, peakBytes, hostOomKills, lastLines } = exit;
  const end = { end: kind, strays, oomKills, peakBytes, hostOomKills, next };
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
