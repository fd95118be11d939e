// The parts of a daemon that handlers work with, by name. They are never handed out together: a section of the route table is
// given the members that it names, and each handler takes its own.
import type { Catalog } from '../catalog/catalog.ts';
import type { CatalogChanges } from '../catalog/changes.ts';
import type { Transcripts } from '../catalog/transcripts.ts';
import type { ApiDocument } from '../contract/api-document.ts';
import type { Clock } from '../contract/clock.ts';
import type { DaemonIdentity } from '../contract/control.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { PermissionPolicy } from '../contract/wire.ts';
import type { FeedPublisher } from '../feed/publisher.ts';
import type { Restores } from '../restore/restores.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import type { RateGate } from './rate-gate.ts';
import type { Streams } from './streams.ts';

/** A handler takes `Pick<RouteContext, ...>`, or less. */
export interface RouteContext {
  /** Canonical path. */
  readonly workspace: string;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly log: Log;
  readonly sessions: LiveSessions;
  readonly restores: Restores;
  readonly transcripts: Transcripts;
  readonly catalog: Catalog;
  readonly catalogChanges: CatalogChanges;
  readonly capabilities: DaemonCapabilityFacts;
  readonly feed: FeedPublisher;
  readonly apiDocument: ApiDocument;
  readonly streams: Streams;
  /** Undefined: requests are not limited. */
  readonly rateGate: RateGate | undefined;
  readonly activity: {
    /** Epoch ms of the newest activity of any session, ended ones included; null before the first. */
    readonly lastAtMs: () => number | null;
    readonly isAgentAlive: () => boolean;
  };
  /** This process, as the coordinator knows it. */
  readonly self: Pick<DaemonIdentity, 'incarnation' | 'pid' | 'startTime' | 'version'>;
}

/** What `GET /capabilities` says of this daemon beside what it says of every daemon. */
export interface DaemonCapabilityFacts {
  /** Canonical path. */
  readonly workspace: string;
  readonly version: string;
  readonly permissionPolicy: PermissionPolicy;
  /** Capability tags that depend on the configuration. */
  readonly features: readonly string[];
  readonly limits: Pick<
    Limits,
    'maxPendingPromptsPerSession' | 'sessionRestoreTimeoutMs' | 'maxTotalSessions' | 'maxSessions'
  >;
}
