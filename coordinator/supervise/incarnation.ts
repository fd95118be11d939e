// One incarnation of a daemon and how it comes to be: the row is committed first, then the process is made.
import { randomBytes } from 'node:crypto';
import type { Event } from '../domain/daemon-state.ts';
import type { Death } from '../domain/restart-policy.ts';
import type { DaemonEndKind } from '../domain/session.ts';
import { readHostOomKills } from '../launch/host-oom.ts';
import type { DaemonProcess, Launch, LaunchSpec } from '../launch/launcher.ts';
import { DaemonFacts } from './daemon-facts.ts';
import type { Watched } from './death.ts';
import type { Feed } from './feed.ts';
import type { Endpoint, WorkspaceKey } from './fleet.ts';
import { LettingGo } from './letting-go.ts';
import { wordsOf } from './refusals.ts';
import type { SupervisorDeps } from './supervisor-deps.ts';

/** Why an incarnation is ended, from the moment that it was decided. */
export interface EndCause {
  readonly reason: string;
  /** `died` when it is given up on; the others were wanted. */
  readonly kind: DaemonEndKind;
}

export interface Incarnation {
  readonly id: string;
  readonly process: DaemonProcess;
  readonly endpoint: Endpoint;
  readonly logPath: string;
  /** Period in which beats are due. */
  readonly beatMs: number;
  readonly facts: DaemonFacts;
  readonly lettingGo: LettingGo;
  version: string | null;
  feed: Feed | undefined;
  wasReady: boolean;
  cause: EndCause | undefined;
  /** Monotonic time at which a drain ends whatever still runs. */
  drainUntilMs: number;
  /** Why it is to be replaced as soon as its turns have ended; undefined when it fits this coordinator. */
  readonly misfit: string | undefined;
  /** What the host's oom killer had done when it began. */
  readonly hostOomKillsBefore: number | null;
}

/** What is known of a process before it says anything itself. */
export interface KnownBefore {
  readonly version: string | null;
  readonly wasReady: boolean;
  readonly misfit?: string;
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
      return { reason: wordsOf(event.error), kind: 'died' };
    case 'adopted':
      return event.isEnding
        ? { reason: 'it was ending already when it was found', kind: 'stopped' }
        : undefined;
    default:
      return undefined;
  }
}

/** The same for the restart policy. */
export function endOf(cause: EndCause | undefined): Death['end'] {
  if (cause === undefined) return 'own';
  return cause.kind === 'died' ? 'given_up' : 'asked';
}

/** An incarnation around a process that runs already. */
export function incarnationOf(
  deps: SupervisorDeps,
  workspace: WorkspaceKey,
  process: DaemonProcess,
  known: KnownBefore,
): Incarnation {
  const { incarnation, socketPath, secret } = process.mark;
  const { logPath, bridge } = deps.layoutOf(workspace, incarnation);
  const endpoint = { workspaceId: workspace.id, incarnation, socketPath, secret };
  return {
    id: incarnation,
    process,
    endpoint,
    lettingGo: new LettingGo(deps, endpoint),
    logPath,
    beatMs: bridge.limits.feedBeatMs,
    facts: new DaemonFacts(deps.clock.monotonicMs()),
    version: known.version,
    feed: undefined,
    wasReady: known.wasReady,
    cause: undefined,
    drainUntilMs: Number.POSITIVE_INFINITY,
    misfit: known.misfit,
    hostOomKillsBefore: readHostOomKills(),
  };
}

/** For the record of its death. */
export function watchedOf({ wasReady, cause, facts, hostOomKillsBefore }: Incarnation): Watched {
  const after = hostOomKillsBefore === null ? null : readHostOomKills();
  return {
    wasReady,
    isUnasked: cause === undefined,
    beats: facts.lastBeats,
    hostOomKills: after === null || hostOomKillsBefore === null ? null : after - hostOomKillsBefore,
  };
}

/**
 * Starts the workspace's next incarnation, with `command` in place of the configured one where it is given.
 * @throws the store's ApiError 507, or the launcher's Error; then there is no process, and the row, if any, is ended.
 */
export function spawnDaemon(
  deps: SupervisorDeps,
  workspace: WorkspaceKey,
  command?: readonly string[],
): Launch {
  const { store, clock, settings } = deps;
  const incarnation = store.daemons.nextIncarnation(workspace.id);
  const layout = deps.layoutOf(workspace, incarnation);
  const secret = randomBytes(32).toString('base64url');
  const nowMs = clock.nowMs();
  store.daemons.insertStarting({
    incarnation,
    workspaceId: workspace.id,
    socketPath: layout.socketPath,
    secret,
    bootId: deps.bootId,
    logPath: layout.logPath,
    createdAtMs: nowMs,
    startDeadlineAtMs: nowMs + settings.startTimeoutMs,
  });
  return launchOrEnd(deps, {
    ...layout,
    workspaceId: workspace.id,
    workspacePath: workspace.path,
    incarnation,
    secret,
    ...(command && { command }),
  });
}

function launchOrEnd(deps: SupervisorDeps, spec: LaunchSpec): Launch {
  try {
    return deps.launcher.start(spec);
  } catch (error) {
    const reason = `no process could be made: ${wordsOf(error)}`;
    deps.store.daemons.setEnded(spec.incarnation, {
      atMs: deps.clock.nowMs(),
      code: null,
      signal: null,
      reason,
      kind: 'died',
      event: { kind: 'start_failed', detail: {} },
    });
    throw new Error(reason, { cause: error });
  }
}
