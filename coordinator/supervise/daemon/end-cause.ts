// Why an incarnation is ended, from the moment that it was decided.

import { messageOf } from '../../../daemon/contract/errors.ts';
import type { Event } from '../../domain/daemon-state.ts';
import type { Death } from '../../domain/restart-policy.ts';
import type { DaemonEndKind } from '../../domain/session.ts';
import { isStorageRefusal } from '../../store/storage-refusal.ts';

export interface EndCause {
  readonly reason: string;
  /** `died` when it is given up on; the others were wanted. */
  readonly kind: DaemonEndKind;
}

/** Why this event ends an incarnation; undefined for an event that ends none. */
export function causeOf(event: Event): EndCause | undefined {
  switch (event.type) {
    case 'stop':
    case 'idle':
      return { reason: event.reason, kind: event.type === 'idle' ? 'idle' : event.kind };
    case 'boot_timeout':
    case 'beats_lost':
      return { reason: event.why, kind: 'died' };
    case 'start_failed':
      // Where the database could not take its start, nothing is wrong with the daemon.
      return { reason: messageOf(event.error), kind: isStorageRefusal(event.error) ? 'stopped' : 'died' };
    case 'adopted':
      return event.isEnding
        ? { reason: 'it was ending already when it was found', kind: 'stopped' }
        : undefined;
    default:
      return undefined;
  }
}

/** The same for the restart policy. */
export function endOf(cause: EndCause | undefined): Death['end'] {
  if (cause === undefined) return 'own';
  return cause.kind === 'died' ? 'given_up' : 'asked';
}
