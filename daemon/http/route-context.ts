// The parts of the daemon that route handlers work with, by name. No handler gets them all: each section of the route table
// (routes.ts) is bound to the members that it names, and each handler picks its own from these.
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

/** All parts that handlers use. The function that makes a handler takes a `Pick` of the members that its handler needs. */
export interface RouteContext {
  /** Canonical path of the daemon's workspace. */
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
  /** Undefined when the configuration sets no rate limits: requests are not counted. */
  readonly rateGate: RateGate | undefined;
  readonly activity: {
    /** Epoch ms of the newest activity of any session, ended sessions included; null before the first activity. */
    readonly lastAtMs: () => number | null;
    readonly isAgentAlive: () => boolean;
  };
  /** What the daemon reports of its process in the answer to `GET /control/identity`. */
  readonly self: Pick<DaemonIdentity, 'incarnation' | 'pid' | 'startTime' | 'version'>;
}

/** The facts from which the daemon computes its answer to `GET /capabilities`; the rest of that answer is constant. */
export interface DaemonCapabilityFacts {
  /** Canonical path of the daemon's workspace. */
  readonly workspace: string;
  readonly version: string;
  readonly permissionPolicy: PermissionPolicy;
  /** Capability tags that depend on the configuration, see `conditionalFeatures`. */
  readonly features: readonly string[];
  readonly limits: Pick<
    Limits,
    'maxPendingPromptsPerSession' | 'sessionRestoreTimeoutMs' | 'maxTotalSessions' | 'maxSessions'
  >;
}
