// Everything that the handlers work with, together: the route table takes it whole, each handler names its own members.
import type { Catalog } from '../catalog/catalog.ts';
import type { CatalogChanges } from '../catalog/changes.ts';
import type { Transcripts } from '../catalog/transcripts.ts';
import type { ApiDocument } from '../contract/api-document.ts';
import type { Clock } from '../contract/clock.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { FeedPublisher } from '../feed/publisher.ts';
import type { Restores } from '../restore/restores.ts';
import type { PermissionSettings } from '../session/permissions.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import type { RateGate } from './rate-gate.ts';
import type { Streams } from './streams.ts';

/** What the route table hands out. A handler takes `Pick<RouteContext, ...>` of it, or less. */
export interface RouteContext {
  /** Canonical path. */
  readonly workspace: string;
  readonly version: string;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly log: Log;
  readonly sessions: LiveSessions;
  readonly restores: Restores;
  readonly transcripts: Transcripts;
  readonly catalog: Catalog;
  readonly catalogChanges: CatalogChanges;
  readonly permissionSettings: PermissionSettings;
  /** Capability tags that depend on the configuration. */
  readonly features: readonly string[];
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
  readonly self: {
    /** Empty for a stand-alone daemon. */
    readonly incarnation: string;
    readonly pid: number;
    readonly startTime: number;
  };
}
