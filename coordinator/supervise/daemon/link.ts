// The requests that supervision sends to running daemons. The composition root provides them, tests provide fakes.
import type { DaemonIdentity, ReleaseRequest } from '../../../daemon/contract/control.ts';
import type { Reach } from '../../upstream/address.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { FollowFeed } from '../feed/follower.ts';

/**
 * Asks the process that answers at the address for its identity (GET /control/identity with the secret as bearer).
 * Resolves undefined without a valid answer within `timeoutMs`; never rejects.
 */
export type AskIdentity = (at: Reach, timeoutMs: number) => Promise<DaemonIdentity | undefined>;

export interface DaemonLink {
  readonly followFeed: FollowFeed;
  readonly askIdentity: AskIdentity;
  /**
   * Sends the release request: the daemon ends its turns, sessions and event streams.
   * @returns false when `onlyIfQuiet` is set and the daemon has work. @throws ApiError when it refuses or does not answer.
   */
  readonly release: (endpoint: Endpoint, request: ReleaseRequest) => Promise<boolean>;
  /** Ends the coordinator's event streams to clients of the workspace, before the end of the daemon breaks them off. */
  readonly endStreams: (workspaceId: string) => void;
}
