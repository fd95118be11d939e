// What docs/lifecycle.md calls every name that the code's tables use: states, events, effects, route classes, flags.
import { code } from './markdown.mjs';

/** The page's words for a name. @throws when `words` lacks the name, so that a new state or event cannot stay undocumented. */
export function wordsFor(what, words, name) {
  if (!Object.hasOwn(words, name))
    throw new Error(`deploy/lifecycle/words.mjs has no words for the ${what} "${name}"`);
  return words[name];
}

export const STATE_WORDS = {
  stopped: 'no process; the next demand starts one',
  starting: 'a process is there, and its sessions are not known yet',
  ready: 'its route is open',
  draining: 'it is to end; running turns and open questions may end first',
  stopping: 'it was told to end, and its exit is awaited',
  backoff: 'it died; the next start waits',
  failed: 'it died too often; starts are refused until the cool-off is over',
};

export const EVENT_WORDS = {
  demand: 'a request needs the daemon',
  adopted: 'a daemon of an earlier coordinator was proven alive',
  listening: 'its ready line came',
  ready: 'a snapshot of its sessions is in the store',
  boot_timeout: 'its ready line or its feed did not come in time',
  start_failed: 'it refused, or its start could not be recorded',
  spawn_failed: 'no process could be made',
  idle: 'the idle policy, or an eviction, wants it gone',
  busy: 'it was to go for idleness only, and says that it has work after all',
  stop: 'an operator, a drain, a restart or the stop of the coordinator wants it gone',
  drained: 'no turn is left, or the time for them is over',
  beats_lost: 'no beat for too long, and no answer when asked',
  exited: 'its process and everything that it started are gone',
  backoff_over: 'the wait after a death is over',
  reset: 'an operator clears the record',
};

export const EFFECT_WORDS = {
  spawn: 'commit the row of the start, then make the process',
  record_ready: 'note that it listens',
  follow_feed: 'open its feed; the snapshot is stored before anything else',
  publish_route: 'let requests through',
  withdraw_route: 'let no further request through',
  wake_waiters: 'let the parked requests go on',
  fail_waiters: 'answer the parked requests with the reason',
  serve_parked: 'start afresh where requests are still parked',
  begin_drain: 'wait for turns, at most until the deadline',
  terminate: 'SIGTERM, later SIGKILL, to the last descendant; `exited` always follows',
  arm_backoff: 'start the clock of the next try',
};

export const SESSION_STATES = ['live', 'restoring', 'dormant', 'closed'];
export const SESSION_EVENTS = [
  ['a daemon has it', { type: 'opened' }],
  ...['last_client_detached', 'idle_timeout'].map((reason) => [
    `it ended: ${code(reason)}, and its agent can load`,
    { type: 'ended', reason, canLoad: true },
  ]),
  ['it ended: `daemon_shutdown`', { type: 'ended', reason: 'daemon_shutdown', canLoad: true }],
  ['it ended for any other reason', { type: 'ended', reason: 'session_closed', canLoad: true }],
  ['it ended, and its agent cannot load', { type: 'ended', reason: 'idle_timeout', canLoad: false }],
  ...['died', 'replaced', 'idle', 'stopped', 'removed'].map((kind) => [
    `its daemon is gone: ${code(kind)}`,
    { type: 'daemon_ended', kind, canLoad: true },
  ]),
  ['its daemon is gone, and its agent cannot load', { type: 'daemon_ended', kind: 'died', canLoad: false }],
  ['a restore failed, and may work later', { type: 'restore_failed', isFinal: false }],
  ['a restore failed for good', { type: 'restore_failed', isFinal: true }],
  ['a client closes it at rest', { type: 'closed_at_rest' }],
];

export const WHEN_STOPPED = {
  wake: 'starts the daemon, brings the session back, then goes on',
  store: 'answered from the store',
  204: '204; nothing is left to do',
  404: '404 `session_not_found` with `dormant: true`, or that the thing is not known',
};
export const ANSWERED_BY = {
  coordinator: 'the coordinator',
  daemon: 'the daemon',
  either: 'the daemon while it runs',
};

/** The flags of the page's tables of numbers, by the table's heading. */
export const NUMBERS = {
  'From demand to ready': [
    'max-daemons',
    'max-concurrent-starts',
    'start-timeout-ms',
    'feed-ready-timeout-ms',
    'waiter-deadline-ms',
    'max-waiters',
  ],
  'After a death': [
    'restart-intensity',
    'restart-period-ms',
    'restart-first-backoff-ms',
    'restart-max-backoff-ms',
    'restart-cool-off-ms',
  ],
  Liveness: ['feed-beat-ms', 'beat-timeout-factor', 'liveness-period-ms', 'probe-timeout-ms'],
  'Idleness and ends': [
    'idle-timeout-ms',
    'watched-idle-timeout-ms',
    'idle-check-period-ms',
    'drain-timeout-ms',
    'stop-grace-ms',
  ],
  'Sessions that come back': ['restore-concurrency', 'restore-timeout-ms', 'restore-wait-ms'],
  Adoption: ['adopt-timeout-ms', 'reconcile-period-ms', 'orphan-limit', 'orphan-drain-ms'],
};
