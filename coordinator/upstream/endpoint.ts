// The endpoint of a daemon: what code needs to call one incarnation of the daemon.
import type { Reach } from './address.ts';

/** Address and secret of a daemon, with the workspace and the incarnation that they belong to. */
export interface Endpoint extends Reach {
  readonly workspaceId: string;
  readonly incarnation: string;
}
