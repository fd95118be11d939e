// What supervision is made of: the composition root provides it, tests provide fakes.
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { DaemonIdentity, ReleaseRequest } from '../../../daemon/contract/control.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { Launcher, LaunchSpec } from '../../launch/launcher.ts';
import type { Store } from '../../store/store.ts';
import type { Reach } from '../../upstream/address.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { FollowFeed } from '../feed/follower.ts';
import type { WorkspaceKey } from '../fleet.ts';
import type { EventJournal } from '../records/event-journal.ts';
import type { SessionRecorder } from '../records/session-recorder.ts';
import type { RestorableWorkspaces } from '../restorable-workspaces.ts';
import type { SuperviseSettings } from '../settings.ts';

/** What the composition root decides of each daemon. */
export type DaemonLayout = Pick<LaunchSpec, 'socketPath' | 'logPath' | 'daemonStateDir' | 'bridge'>;

/**
 * Asks whoever answers at the address for its identity (GET /control/identity with the secret as bearer).
 * Resolves undefined when there is no valid answer within `timeoutMs`; never rejects.
 */
export type AskIdentity = (at: Reach, timeoutMs: number) => Promise<DaemonIdentity | undefined>;

export interface SupervisorDeps {
  readonly store: Store;
  readonly launcher: Launcher;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: SuperviseSettings;
  readonly recorder: SessionRecorder;
  readonly journal: EventJournal;
  readonly followFeed: FollowFeed;
  readonly askIdentity: AskIdentity;
  /** Boot id of this machine, as identities carry it. */
  readonly bootId: string;
  readonly layoutOf: (workspace: WorkspaceKey, incarnation: string) => DaemonLayout;
  /** Takes the workspaces of sessions that are to come back by themselves. */
  readonly restorable: Pick<RestorableWorkspaces, 'add'>;
  /**
   * Makes a daemon end its work and its event streams, before its process is ended.
   * @returns false when it has work and `onlyIfQuiet` was asked. @throws ApiError when it cannot be asked.
   */
  readonly release: (endpoint: Endpoint, request: ReleaseRequest) => Promise<boolean>;
  /** Ends the workspace's event streams plainly, before its daemon tells their clients that it goes. */
  readonly endStreams: (workspaceId: string) => void;
  /** Copies and truncates each log that has grown too long. */
  readonly rotateLogs: (logPaths: readonly string[]) => Promise<void> | void;
  /** A number in [0, 1), for the jitter of retries. */
  readonly random: () => number;
}
