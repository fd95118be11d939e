// One incarnation of a daemon, as the code that talks to the daemon knows it.
import type { Reach } from './address.ts';

/** Where a ready daemon answers, and the secret that it expects. */
export interface Endpoint extends Reach {
  readonly workspaceId: string;
  readonly incarnation: string;
}
