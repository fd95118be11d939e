// One incarnation of a daemon as those who talk to it know it.
import type { Reach } from './address.ts';

/** Where a ready daemon answers, and the secret that it expects. */
export interface Endpoint extends Reach {
  readonly workspaceId: string;
  readonly incarnation: string;
}
