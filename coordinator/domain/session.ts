// The states of a session in the store, and which state follows an event of the session or of its daemon. Pure.

/**
 * `live`: a daemon has the session. `restoring`: its daemon died or is being replaced; the session is restored automatically.
 * `dormant`: no daemon has the session; a client's prompt, load or change restores it. `closed`: over, until a client loads it.
 */
export type SessionState = 'live' | 'restoring' | 'dormant' | 'closed';

/** Why a daemon's process is gone. */
export type DaemonEndKind = 'died' | 'idle' | 'replaced' | 'stopped' | 'removed';

export type SessionEvent =
  /** A daemon reported that it has the session. */
  | { readonly type: 'opened' }
  /** A daemon reported that the session ended, and why. */
  | { readonly type: 'ended'; readonly reason: string; readonly canLoad: boolean }
  | { readonly type: 'daemon_ended'; readonly kind: DaemonEndKind; readonly canLoad: boolean }
  /** A restore failed; `isFinal` when another attempt cannot help. */
  | { readonly type: 'restore_failed'; readonly isFinal: boolean }
  /** A client closed the session while no daemon had it. */
  | { readonly type: 'closed_at_rest' };

/** Reasons of a session's end after which the session is dormant, if its agent can load it again; otherwise it is closed. */
const SLEEPS_AFTER = new Set(['last_client_detached', 'idle_timeout']);
/** The reason of a session that ends with its daemon: its next state depends on how the daemon's process then ends. */
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

/** The session's next state; undefined when the event changes nothing. */
export function nextState(state: SessionState, event: SessionEvent): SessionState | undefined {
  // The function under `event.type` takes exactly that event; TypeScript cannot follow the correlation.
  const next = (NEXT[event.type] as Next<SessionEvent['type']>)(state, event);
  return next === state ? undefined : next;
}

function afterEnd(reason: string, canLoad: boolean): SessionState | undefined {
  if (reason === DECIDED_LATER) return undefined;
  return canLoad && SLEEPS_AFTER.has(reason) ? 'dormant' : 'closed';
}
