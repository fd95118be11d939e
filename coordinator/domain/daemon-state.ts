// The state table of a daemon: for each state and event, the next state and the effects. Pure: effects are names, which
// supervise/daemon/controller.ts maps to one method each.
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

/** Events that concern a workspace's daemon, whichever incarnation runs. */
type WorkspaceEvent =
  /** A request needs the daemon. `isCoolOffOver` matters in the state `failed` only. */
  | { readonly type: 'demand'; readonly isCoolOffOver: boolean }
  /** The daemon has to end, for another reason than idleness. */
  | {
      readonly type: 'stop';
      readonly reason: string;
      readonly kind: Exclude<DaemonEndKind, 'died' | 'idle'>;
      /** How long turns under way may go on. */
      readonly drainMs: number;
      /** The daemon was ready under an earlier coordinator: it may have turns although its feed is not up yet. */
      readonly hasServed: boolean;
    }
  /** An operator ends the wait in the state `backoff` or `failed`. */
  | { readonly type: 'reset' }
  /** The wait in the state `backoff` is over. */
  | { readonly type: 'backoff_over' }
  /** The launcher could not make the daemon's process. */
  | { readonly type: 'spawn_failed'; readonly error: unknown; readonly verdict: RestartVerdict };

/** Events of one incarnation; `accepts` drops the events of an earlier incarnation. */
type IncarnationEvent = { readonly incarnation: string } & IncarnationFact;

type IncarnationFact =
  /** A daemon of an earlier coordinator was proven alive. `isEnding`: the daemon has already begun to end itself. */
  | { readonly type: 'adopted'; readonly isEnding: boolean }
  /** The daemon has printed its ready line: it listens on its address. */
  | { readonly type: 'listening'; readonly version: string }
  /** The daemon's first feed snapshot is in the store. */
  | { readonly type: 'ready' }
  /** The ready line or the first snapshot did not come in time. */
  | { readonly type: 'boot_timeout'; readonly why: string }
  /** The daemon refused to start, or its start could not be recorded. */
  | { readonly type: 'start_failed'; readonly error: unknown }
  /** The daemon has to end because it is idle, or to make room for the daemon of another workspace. */
  | { readonly type: 'idle'; readonly reason: string }
  /** The daemon is draining for idleness, but has work after all. */
  | { readonly type: 'busy' }
  /** The draining daemon has no turn left, or the time for the drain is over. */
  | { readonly type: 'drained' }
  /** The daemon sends no beats and does not answer when it is probed. */
  | { readonly type: 'beats_lost'; readonly why: string }
  /** The daemon's process is gone. */
  | { readonly type: 'exited'; readonly verdict: RestartVerdict };

export type Event = WorkspaceEvent | IncarnationEvent;
export type EventType = Event['type'];

export type Effect =
  | 'spawn'
  | 'record_ready'
  | 'follow_feed'
  | 'publish_route'
  | 'withdraw_route'
  /** Sends parked requests on to the daemon. */
  | 'wake_waiters'
  /** Refuses parked requests. */
  | 'fail_waiters'
  /** Starts the daemon again if requests are still parked; otherwise does nothing. */
  | 'serve_parked'
  | 'begin_drain'
  /** Ends the process; the event `exited` always follows. */
  | 'terminate'
  | 'arm_backoff';

/** The outcome of an event: the next state, and the effects to carry out. */
export interface Row {
  readonly next: State;
  readonly effects: readonly Effect[];
}

/** One field of the table: a row, or a function that chooses a row by the event's facts; undefined: the event changes nothing. */
type Field<T extends EventType> = Row | ((event: Extract<Event, { type: T }>) => Row | undefined);
type Table = Readonly<Record<State, { readonly [T in EventType]?: Field<T> }>>;

const row = (next: State, ...effects: readonly Effect[]): Row => ({ next, effects });

/** The row after a death: the restart policy's verdict chooses the state. */
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
    // Requests may be parked although the daemon is stopped, until other daemons have started or made room for it.
    stop: row('stopped', 'fail_waiters'),
    adopted: ({ isEnding }) => (isEnding ? row('stopping', 'terminate') : row('starting', 'follow_feed')),
  },
  starting: {
    listening: row('starting', 'record_ready', 'follow_feed'),
    ready: row('ready', 'publish_route', 'wake_waiters'),
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
    busy: row('ready', 'publish_route', 'wake_waiters'),
    beats_lost: row('stopping', 'terminate'),
    stop: row('draining', 'fail_waiters', 'begin_drain'),
    // Whatever the exit code, the end was wanted.
    exited: row('stopped', 'serve_parked'),
  },
  stopping: {
    stop: row('stopping', 'fail_waiters'),
    // A failed start passes through `stopping` too, so the verdict decides: else every retry of a client would spawn at once.
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

/** The next state and the effects of `event` in `state`; undefined when the event changes nothing in that state. */
export function step(state: State, event: Event): Row | undefined {
  // The field of `event.type` takes exactly that event; TypeScript cannot follow the correlation.
  const field = TABLE[state][event.type] as Row | ((event: Event) => Row | undefined) | undefined;
  return typeof field === 'function' ? field(event) : field;
}

/** Whether the event concerns the `current` incarnation. A `WorkspaceEvent` always does. */
export function accepts(current: string | undefined, event: Event): boolean {
  return !('incarnation' in event) || event.incarnation === current;
}
