// Creates the parts for the daemon's sessions: the register of sessions, and how sessions are created, changed, ended and
// restored.
import type { AgentHost } from './agent/agent.ts';
import { IdleRetirement } from './agent/idle-retirement.ts';
import { SessionCloser } from './agent/session-closer.ts';
import type { Checkouts } from './checkouts/checkouts.ts';
import type { Clock } from './contract/clock.ts';
import type { Limits } from './contract/limits.ts';
import type { Log } from './contract/log.ts';
import type { TranscriptOwnership } from './history/transcript-ownership.ts';
import { AbandonedRestores } from './restore/abandoned-restores.ts';
import { LostPrompts } from './restore/lost-prompts.ts';
import { SessionRestorer } from './restore/restore-session.ts';
import { Restores } from './restore/restores.ts';
import type { PermissionSettings } from './session/permissions.ts';
import { AgentEventRouter } from './sessions/agent-event-router.ts';
import { Attachments } from './sessions/attachments.ts';
import { AutoClose } from './sessions/auto-close.ts';
import type { CoordinatorFeed } from './sessions/coordinator-feed.ts';
import { SessionSpawner } from './sessions/create.ts';
import { SessionEndings } from './sessions/endings.ts';
import { Intake } from './sessions/intake.ts';
import { LiveSessionListener } from './sessions/listener.ts';
import { LiveSessions } from './sessions/live-sessions.ts';
import { SessionOpener } from './sessions/opener.ts';
import { SessionRegister } from './sessions/register.ts';
import { SessionReporter } from './sessions/reporter.ts';
import { SingleSlot } from './sessions/single-slot.ts';

/** Settings and services that all parts of a daemon share. */
export interface Environment {
  /** Canonical path of the workspace. */
  readonly workspace: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
}

/**
 * The session parts that the agent host and the feed need. All other session parts need the agent host and the feed themselves.
 */
export interface SessionBase {
  readonly register: SessionRegister;
  readonly slot: SingleSlot;
  readonly router: AgentEventRouter;
}

export interface SessionPartsDeps extends SessionBase {
  readonly agent: AgentHost;
  readonly feed: CoordinatorFeed;
  readonly ownership: TranscriptOwnership;
  readonly checkouts: Pick<Checkouts, 'around'>;
  readonly permissionSettings: PermissionSettings;
}

export interface SessionParts {
  readonly ownership: TranscriptOwnership;
  readonly sessions: LiveSessions;
  readonly restores: Restores;
  readonly endings: SessionEndings;
  readonly autoClose: AutoClose;
  readonly retirement: IdleRetirement;
}

/**
 * Creates the session parts that agent host and feed need.
 * @param onAgentExited called when an agent child has ended. It ends the child's sessions with a part that is created only later.
 */
export function createSessionBase(
  { clock, log, limits }: Environment,
  onAgentExited: SessionEndings['agentExited'],
): SessionBase {
  const register = new SessionRegister(limits);
  const slot = new SingleSlot(register);
  return { register, slot, router: new AgentEventRouter({ register, clock, log, onAgentExited }) };
}

export function createSessionParts(environment: Environment, deps: SessionPartsDeps): SessionParts {
  const { workspace, clock, log, limits } = environment;
  const { register, slot, router, agent, feed, ownership } = deps;
  const { history } = ownership;
  const intake = new Intake();
  const retirement = new IdleRetirement({
    agent,
    clock,
    idleMs: Math.max(limits.channelIdleTimeoutMs, limits.channelReuseMs),
    // A daemon that is about to end does not retire its agent child: the child ends with the daemon.
    isUnused: () => register.isEmpty && !intake.isClosed,
  });
  const closer = new SessionCloser(limits.initializeTimeoutMs, log);
  const reporter = new SessionReporter({ feed, slot, clock });
  const endings = new SessionEndings({ register, slot, feed, reporter, history, closer, retirement });
  const autoClose = new AutoClose({ register, endings, clock, limits });
  const listener = new LiveSessionListener({ register, feed, reporter, autoClose });
  const { permissionSettings, checkouts } = deps;
  const services = { clock, log, limits, permissionSettings, listener };
  const opener = new SessionOpener({ register, intake, agent, retirement, router, feed, endings });
  const spawner = new SessionSpawner({ workspace, services, opener, ownership, checkouts });
  const attachments = new Attachments({ reporter, autoClose, clock, log });
  const sessions = new LiveSessions({
    register,
    slot,
    intake,
    spawner,
    attachments,
    endings,
    reporter,
    log,
  });
  const abandoned = new AbandonedRestores({ register, limits, log });
  const lostPrompts = new LostPrompts(feed, clock);
  const restorer = new SessionRestorer({
    workspace,
    services,
    opener,
    ownership,
    lostPrompts,
    router,
    abandoned,
  });
  const restores = new Restores({
    sessions,
    slot,
    attachments,
    reporter,
    restorer,
    abandoned,
    history,
    lostPrompts,
  });
  return { ownership, sessions, restores, endings, autoClose, retirement };
}
