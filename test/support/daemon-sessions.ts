// The parts of a daemon's sessions, created as the daemon creates them, over a given agent and a feed that a test reads.
import type { AgentHost } from '../../daemon/agent/agent.ts';
import {
  createSessionBase,
  createSessionParts,
  type SessionBase,
  type SessionParts,
} from '../../daemon/app-sessions.ts';
import type { Clock } from '../../daemon/contract/clock.ts';
import type { FeedBody } from '../../daemon/contract/feed.ts';
import { DEFAULT_LIMITS, type Limits } from '../../daemon/contract/limits.ts';
import type { TranscriptOwnership } from '../../daemon/history/transcript-ownership.ts';
import { NO_CHECKOUTS } from './no-checkouts.ts';
import { SILENT } from './session-parts.ts';

export interface DaemonSessionsOptions {
  readonly clock: Clock;
  readonly agent: AgentHost;
  readonly ownership: TranscriptOwnership;
  readonly limits?: Partial<Limits>;
  /** Takes each feed record; returns its `seq`. */
  readonly publish: (body: FeedBody) => number;
}

/** Sessions of the workspace `/ws`, without git. */
export function daemonSessions(options: DaemonSessionsOptions): SessionBase & SessionParts {
  const { clock, agent, ownership, publish } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const environment = { workspace: '/ws', clock, log: SILENT, limits };
  const base = createSessionBase(environment, (channel, exit) => parts.endings.agentExited(channel, exit));
  const parts = createSessionParts(environment, {
    ...base,
    agent,
    feed: { publish, seen: () => undefined },
    ownership,
    checkouts: NO_CHECKOUTS,
    permissionSettings: { policy: 'first-responder', consensusQuorum: undefined, requestIdPrefix: '' },
  });
  return { ...base, ...parts };
}
