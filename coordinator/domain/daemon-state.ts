// A daemon's life: its states, its events, and the one table that says what follows. Pure: effects are names, which
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

/** Events of the workspace: they concern whatever incarnation its daemon is in. */
type WorkspaceEvent =
  /** A request needs the daemon. `isCoolOffOver` matters in `failed` only. */
  | { readonly type: 'demand'; readonly isCoolOffOver: boolean }
  /** The daemon is to end. */
  | {
      readonly type: 'stop';
      readonly reason: string;
      readonly kind: Exclude<DaemonEndKind, 'died' | 'idle'>;
      /** How long turns under way may go on. */
      readonly drainMs: number;
      /** The daemon was ready under an earlier coordinator: it may have turns although its feed is not up yet. */
      readonly hasServed: boolean;
    }
  /** An operator ends the wait of `backoff` or `failed`. */
  | { readonly type: 'reset' }
  /** The wait before the next start is over. */
  | { readonly type: 'backoff_over' }
  /** No process could be made. */
  | { readonly type: 'spawn_failed'; readonly error: unknown; readonly verdict: RestartVerdict };

/** Events of one incarnation; those of an earlier incarnation are dropped (`accepts`). */
type IncarnationEvent = { readonly incarnation: string } & IncarnationFact;

type IncarnationFact =
  /** A daemon of an earlier coordinator was proven alive. `isEnding`: that daemon has begun to end itself. */
  | { readonly type: 'adopted'; readonly isEnding: boolean }
  /** The daemon's ready line came: it listens. */
  | { readonly type: 'listening'; readonly version: string }
  /** The daemon's first feed snapshot is in the store. */
  | { readonly type: 'ready' }
  /** The ready line or the first snapshot did not come in time. */
  | { readonly type: 'boot_timeout'; readonly why: string }
  /** The daemon refused to start, or its start could not be recorded. */
  | { readonly type: 'start_failed'; readonly error: unknown }
  /** The daemon is to end because it is idle, or to make room for another workspace's. */
  | { readonly type: 'idle'; readonly reason: string }
  /** The daemon that was to end for idleness has work after all. */
  | { readonly type: 'busy' }
  /** No turn is left, or the drain's time is over. */
  | { readonly type: 'drained' }
  /** The daemon neither beats nor answers. */
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
  /** Starts afresh for requests that are still parked; nothing where none is. */
  | 'serve_parked'
  | 'begin_drain'
  /** Ends the process; the event `exited` always follows. */
  | 'terminate'
  | 'arm_backoff';

/** What an event leads to. */
export interface Row {
  readonly next: State;
  readonly effects: readonly Effect[];
}

/** One field of the table: a row, or a choice by the event's facts. Undefined: the event means nothing. */
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
    // Requests may be parked here until other workspaces' daemons let this daemon start.
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
    // A failed start ends here too, so the verdict decides: else every retry of a client would spawn at once.
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

/** The next state and the effects of `event` in `state`; undefined when the event means nothing there. */
export function step(state: State, event: Event): Row | undefined {
  // The field of `event.type` takes exactly that event; TypeScript cannot follow the correlation.
  const field = TABLE[state][event.type] as Row | ((event: Event) => Row | undefined) | undefined;
  return typeof field === 'function' ? field(event) : field;
}

/** Whether the event concerns the `current` incarnation. An event of the workspace always does. */
export function accepts(current: string | undefined, event: Event): boolean {
  return !('incarnation' in event) || event.incarnation === current;
}
