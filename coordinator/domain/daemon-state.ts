// A daemon's life: states, events, and the one table that says what follows. Pure; effects are names that
// supervise/cell.ts maps to one method each.
import type { RestartVerdict } from './restart-policy.ts';
import type { DaemonEndKind } from './session.ts';

export type State = 'stopped' | 'starting' | 'ready' | 'draining' | 'stopping' | 'backoff' | 'failed';

export const STATES: readonly State[] = [
  'stopped',
  'starting',
  'ready',
  'draining',
  'stopping',
  'backoff',
  'failed',
];

/** Events of the workspace: they hold for whatever incarnation is there. */
type WorkspaceEvent =
  /** Somebody needs the daemon. `isCoolOffOver` matters in `failed` only. */
  | { readonly type: 'demand'; readonly isCoolOffOver: boolean }
  /** `drainMs` is how long turns under way may go on. */
  | {
      readonly type: 'stop';
      readonly reason: string;
      readonly kind: Exclude<DaemonEndKind, 'died' | 'idle'>;
      readonly drainMs: number;
      /** It was ready under an earlier coordinator: it may have turns though its feed is not up yet. */
      readonly hasServed: boolean;
    }
  /** An operator clears `backoff` or `failed`. */
  | { readonly type: 'reset' }
  | { readonly type: 'backoff_over' }
  /** No process could be made. */
  | { readonly type: 'spawn_failed'; readonly error: unknown; readonly verdict: RestartVerdict };

/** Events of one incarnation. */
type IncarnationEvent = { readonly incarnation: string } & IncarnationFact;

type IncarnationFact =
  /** A daemon of an earlier coordinator was proven alive. `isEnding`: it has begun to end itself. */
  | { readonly type: 'adopted'; readonly isEnding: boolean }
  /** Its ready line came: it listens. */
  | { readonly type: 'listening'; readonly version: string }
  /** A feed snapshot of it is in the store. */
  | { readonly type: 'ready' }
  | { readonly type: 'boot_timeout'; readonly why: string }
  /** It refused, or its start could not be recorded. */
  | { readonly type: 'start_failed'; readonly error: unknown }
  | { readonly type: 'idle'; readonly reason: string }
  /** It was to end for idleness, and has work after all. */
  | { readonly type: 'busy' }
  /** No turn is left, or the drain's time is over. */
  | { readonly type: 'drained' }
  | { readonly type: 'beats_lost'; readonly why: string }
  | { readonly type: 'exited'; readonly verdict: RestartVerdict };

export type Event = WorkspaceEvent | IncarnationEvent;
export type EventType = Event['type'];

export type Effect =
  | 'spawn'
  | 'record_ready'
  | 'follow_feed'
  | 'publish_route'
  | 'withdraw_route'
  | 'release_waiters'
  | 'fail_waiters'
  /** Starts afresh for those who still wait; nothing when nobody does. */
  | 'serve_parked'
  | 'begin_drain'
  /** Ends the process; always followed by `exited`. */
  | 'terminate'
  | 'arm_backoff';

export interface Row {
  readonly next: State;
  readonly effects: readonly Effect[];
}

type Cell<T extends EventType> = Row | ((event: Extract<Event, { type: T }>) => Row | undefined);
type Table = Readonly<Record<State, { readonly [T in EventType]?: Cell<T> }>>;

const row = (next: State, ...effects: readonly Effect[]): Row => ({ next, effects });

/** The row after a death: the restart policy's verdict picks the state. */
const died =
  (...effects: readonly Effect[]) =>
  ({ verdict }: { readonly verdict: RestartVerdict }): Row => {
    switch (verdict.kind) {
      case 'clean':
        return row('stopped', ...effects, 'serve_parked');
      case 'retry':
        return row('backoff', ...effects, 'arm_backoff');
      case 'failed':
        return row('failed', ...new Set<Effect>([...effects, 'fail_waiters']));
    }
  };

const failedStart = row('stopping', 'fail_waiters', 'terminate');

export const TABLE: Table = {
  stopped: {
    demand: row('starting', 'spawn'),
    // Some may wait for a place.
    stop: row('stopped', 'fail_waiters'),
    adopted: ({ isEnding }) => (isEnding ? row('stopping', 'terminate') : row('starting', 'follow_feed')),
  },
  starting: {
    listening: row('starting', 'record_ready', 'follow_feed'),
    ready: row('ready', 'publish_route', 'release_waiters'),
    boot_timeout: failedStart,
    start_failed: failedStart,
    beats_lost: failedStart,
    stop: ({ hasServed }) => (hasServed ? row('draining', 'fail_waiters', 'begin_drain') : failedStart),
    spawn_failed: died('fail_waiters'),
    exited: died('fail_waiters'),
  },
  ready: {
    idle: row('draining', 'withdraw_route', 'begin_drain'),
    stop: row('draining', 'withdraw_route', 'begin_drain'),
    beats_lost: row('stopping', 'withdraw_route', 'terminate'),
    exited: died('withdraw_route'),
  },
  draining: {
    drained: row('stopping', 'terminate'),
    busy: row('ready', 'publish_route', 'release_waiters'),
    beats_lost: row('stopping', 'terminate'),
    stop: row('draining', 'fail_waiters', 'begin_drain'),
    // However it ended, an end is what was wanted.
    exited: row('stopped', 'serve_parked'),
  },
  stopping: {
    stop: row('stopping', 'fail_waiters'),
    // A failed start ends here too, so the verdict decides: without it every retry of a client would spawn at once.
    exited: died(),
  },
  backoff: {
    backoff_over: row('stopped', 'serve_parked'),
    reset: row('stopped', 'serve_parked'),
    stop: row('stopped', 'fail_waiters'),
  },
  failed: {
    demand: ({ isCoolOffOver }) => (isCoolOffOver ? row('starting', 'spawn') : undefined),
    reset: row('stopped'),
    stop: row('stopped'),
  },
};

/** Returns the next state and what to do, or undefined when the event means nothing in this state. */
export function step(state: State, event: Event): Row | undefined {
  // The cell of `event.type` takes exactly that event; TypeScript cannot follow the correlation.
  const cell = TABLE[state][event.type] as Row | ((event: Event) => Row | undefined) | undefined;
  return typeof cell === 'function' ? cell(event) : cell;
}

/** Whether the event concerns the `current` incarnation; one that is not bound to an incarnation always does. */
export function accepts(current: string | undefined, event: Event): boolean {
  return !('incarnation' in event) || event.incarnation === current;
}
