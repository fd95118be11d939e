// A request for a restore, by a client or by the coordinator, in one form.
import type { RestoreRequest } from '../contract/control.ts';
import type { FeedClient } from '../contract/feed.ts';
import type { SessionSource } from '../contract/session-source.ts';
import type { ApprovalMode } from '../contract/wire.ts';

export type RestoreAction = 'load' | 'resume';

export interface RestoreIntent {
  /** The id in its lookup form. */
  readonly sessionId: string;
  /** The id as the agent spells it, where the caller knows that. A spelling in the daemon's history takes precedence. */
  readonly spelling?: string;
  readonly action: RestoreAction;
  readonly source: SessionSource;
  /** The approval mode that this request asks for; it is not applied for other requests that share the restore. */
  readonly approvalMode: ApprovalMode | undefined;
  /** What the coordinator knows of the session; undefined for a client's request. */
  readonly known: KnownSession | undefined;
}

export interface KnownSession {
  readonly idFloor: number;
  readonly createdAtMs: number;
  readonly displayName: string | undefined;
  readonly clients: readonly FeedClient[];
  /** Ids of prompts that were accepted and, for all the coordinator knows, never settled. */
  readonly lostPrompts: readonly string[];
}

/** Turns the coordinator's request for a restore into an intent. @param sessionId the id in its lookup form. */
export function coordinatorIntent(sessionId: string, request: RestoreRequest): RestoreIntent {
  const { idFloor, createdAtMs, displayName, clients, lostPrompts, sourceType, sourceId } = request;
  return {
    sessionId,
    spelling: request.sessionId,
    action: 'load',
    source: {
      ...(sourceType === undefined ? {} : { sourceType }),
      ...(sourceId === undefined ? {} : { sourceId }),
    },
    approvalMode: undefined,
    known: { idFloor, createdAtMs, displayName, clients, lostPrompts },
  };
}
