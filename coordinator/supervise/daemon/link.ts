// What supervision says to daemons that run, and asks of them. The composition root provides it, tests provide fakes.
import type { DaemonIdentity, ReleaseRequest } from '../../../daemon/contract/control.ts';
import type { Reach } from '../../upstream/address.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { FollowFeed } from '../feed/follower.ts';

/**
 * Asks whoever answers at the address for its identity (GET /control/identity with the secret as bearer).
 * Resolves undefined when there is no valid answer within `timeoutMs`; never rejects.
 */
export type AskIdentity = (at: Reach, timeoutMs: number) => Promise<DaemonIdentity | undefined>;

export interface DaemonLink {
  readonly followFeed: FollowFeed;
  readonly askIdentity: AskIdentity;
  /**
   * Makes a daemon end its work and its event streams, before its process is ended.
   * @returns false when it has work and `onlyIfQuiet` was asked. @throws ApiError when it cannot be asked.
   */
  readonly release: (endpoint: Endpoint, request: ReleaseRequest) => Promise<boolean>;
  /** Ends the workspace's event streams plainly, before its daemon would end them with its own last word. */
  readonly endStreams: (workspaceId: string) => void;
}
