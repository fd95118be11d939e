// A session's life as the coordinator keeps it: which state follows what happens to it or to its daemon. Pure.

/**
 * `live`: a daemon has it. `restoring`: its daemon died or is being replaced, and it is restored automatically.
 * `dormant`: no daemon has it, and a client's gesture restores it. `closed`: over; only an explicit load revives it.
 */
export type SessionState = 'live' | 'restoring' | 'dormant' | 'closed';

/** Why a daemon's process is gone. */
export type DaemonEndKind = 'died' | 'idle' | 'replaced' | 'stopped' | 'removed';

export type SessionEvent =
  /** A daemon told that it has the session. */
  | { readonly type: 'opened' }
  /** A daemon told that the session ended, and why. */
  | { readonly type: 'ended'; readonly reason: string; readonly canLoad: boolean }
  | { readonly type: 'daemon_ended'; readonly kind: DaemonEndKind; readonly canLoad: boolean }
  /** A restore failed; `isFinal` when trying again cannot help. */
  | { readonly type: 'restore_failed'; readonly isFinal: boolean }
  /** A client closed it while no daemon had it. */
  | { readonly type: 'closed_at_rest' };

/** Ends that a session sleeps through where its agent can load it again. */
const SLEEPS_AFTER = new Set(['last_client_detached', 'idle_timeout']);
/** The daemon is going, and what its sessions become is decided when it has gone. */
const DECIDED_LATER = 'daemon_shutdown';

const AFTER_DAEMON: Readonly<Record<DaemonEndKind, SessionState>> = {
  died: 'restoring',
  replaced: 'restoring',
  idle: 'dormant',
  stopped: 'dormant',
  removed: 'closed',
};

type Next<T extends SessionEvent['type']> = (
  state: SessionState,
  event: Extract<SessionEvent, { type: T }>,
) => SessionState | undefined;

const NEXT: { readonly [T in SessionEvent['type']]: Next<T> } = {
  opened: (state) => (state === 'live' ? undefined : 'live'),
  ended: (state, { reason, canLoad }) => (state === 'live' ? afterEnd(reason, canLoad) : undefined),
  daemon_ended: (state, { kind, canLoad }) =>
    state === 'live' ? (canLoad ? AFTER_DAEMON[kind] : 'closed') : undefined,
  restore_failed: (state, { isFinal }) =>
    state === 'closed' || state === 'live' ? undefined : isFinal ? 'closed' : 'dormant',
  closed_at_rest: (state) => (state === 'restoring' || state === 'dormant' ? 'closed' : undefined),
};

/** The next state, or undefined when the event changes nothing. */
export function nextState(state: SessionState, event: SessionEvent): SessionState | undefined {
  // The entry of `event.type` takes exactly that event; TypeScript cannot follow the correlation.
  const next = (NEXT[event.type] as Next<SessionEvent['type']>)(state, event);
  return next === state ? undefined : next;
}

function afterEnd(reason: string, canLoad: boolean): SessionState | undefined {
  if (reason === DECIDED_LATER) return undefined;
  return canLoad && SLEEPS_AFTER.has(reason) ? 'dormant' : 'closed';
}
