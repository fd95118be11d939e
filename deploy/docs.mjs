// Writes docs/lifecycle.md from the tables that the code runs by. `--print` writes it to stdout instead, for the test that
// compares it with the page. Prose and words are here; every state, event, effect, route and number comes from the code.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({ options: { print: { type: 'boolean' } } });

const SOURCES = `
export { STATES, TABLE, step } from './coordinator/domain/daemon-state.ts';
export { nextState } from './coordinator/domain/session.ts';
export { ROUTE_CLASSES } from './coordinator/domain/route-classes.ts';
export { detectionBoundMs, toleratedPauseMs } from './coordinator/domain/liveness.ts';
export { DEFAULT_SUPERVISE_SETTINGS } from './coordinator/supervise/settings.ts';
export { SUPERVISION_FLAGS, LIMIT_FLAGS } from './coordinator/flags.ts';
`;

/** The sources are TypeScript, which Node 20 does not run. */
async function tables() {
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const dir = mkdtempSync(join(cache, 'docs-'));
  try {
    const outfile = join(dir, 'tables.mjs');
    await build({
      stdin: { contents: SOURCES, resolveDir: root, loader: 'ts' },
      outfile,
      bundle: true,
      packages: 'external',
      format: 'esm',
      platform: 'node',
      target: 'node20',
      logLevel: 'warning',
    });
    return await import(pathToFileURL(outfile).href);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const t = await tables();

/** @throws when the code has a name that has no words here: a new state or event is documented or nothing is. */
function wordsFor(what, words, name) {
  if (!Object.hasOwn(words, name)) throw new Error(`deploy/docs.mjs has no words for the ${what} "${name}"`);
  return words[name];
}

const table = (head, rows) =>
  [
    `| ${head.join(' | ')} |`,
    `|${head.map(() => '---').join('|')}|`,
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n');
const code = (text) => `\`${text}\``;

const STATE_WORDS = {
  stopped: 'no process; the next demand starts one',
  starting: 'a process is there, and its sessions are not known yet',
  ready: 'its route is open',
  draining: 'it is to end; running turns and open questions may end first',
  stopping: 'it was told to end, and its exit is awaited',
  backoff: 'it died; the next start waits',
  failed: 'it died too often; starts are refused until the cool-off is over',
};

const EVENT_WORDS = {
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

const EFFECT_WORDS = {
  spawn: 'commit the row of the start, then make the process',
  record_ready: 'note that it listens',
  follow_feed: 'open its feed; the snapshot is stored before anything else',
  publish_route: 'let requests through',
  withdraw_route: 'let no further request through',
  release_waiters: 'let the parked requests go on',
  fail_waiters: 'answer the parked requests with the reason',
  serve_parked: 'start afresh where requests are still parked',
  begin_drain: 'wait for turns, at most until the deadline',
  terminate: 'SIGTERM, later SIGKILL, to the last descendant; `exited` always follows',
  arm_backoff: 'start the clock of the next try',
};

const VERDICTS = [
  ['the end was wanted', { verdict: { kind: 'clean' } }],
  ['a further try is due', { verdict: { kind: 'retry', afterMs: 0 } }],
  ['it died too often', { verdict: { kind: 'failed', untilMs: 0 } }],
];

/** What the outcome of an event can hang on, for the cells that decide. */
const VARIANTS = {
  demand: [
    ['the cool-off is over', { isCoolOffOver: true }],
    ['within the cool-off', { isCoolOffOver: false }],
  ],
  adopted: [
    ['it serves', { isEnding: false }],
    ['it ends itself', { isEnding: true }],
  ],
  stop: [
    ['it never served', { hasServed: false }],
    ['it served under an earlier coordinator', { hasServed: true }],
  ],
  spawn_failed: VERDICTS,
  exited: VERDICTS,
};

const EVENTS = [...new Set(Object.values(t.TABLE).flatMap((row) => Object.keys(row)))];
const ORDER = Object.keys(EVENT_WORDS);
EVENTS.sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));

/** Every outcome of an event in a state: one, or one for each thing that it hangs on. */
function outcomes(state, event) {
  const cell = t.TABLE[state][event];
  if (cell === undefined) return [];
  if (typeof cell !== 'function') return [['', cell]];
  const variants = VARIANTS[event];
  if (variants === undefined) throw new Error(`deploy/docs.mjs does not know what "${event}" hangs on`);
  return variants.map(([when, fields]) => [
    when,
    t.step(state, { type: event, incarnation: 'i', ...fields }),
  ]);
}

function daemonRows(state) {
  return EVENTS.flatMap((event) =>
    outcomes(state, event).map(([when, row]) => [
      code(event),
      when,
      row === undefined ? 'nothing' : row.next === state ? 'stays' : code(row.next),
      row === undefined
        ? ''
        : row.effects.map((effect) => wordsFor('effect', EFFECT_WORDS, effect) && code(effect)).join(', '),
    ]),
  );
}

function daemonOverview() {
  const cellOf = (state, event) => {
    const next = [...new Set(outcomes(state, event).map(([, row]) => row?.next ?? 'nothing'))];
    return next.length === 0 ? '·' : next.join(' / ');
  };
  return table(
    ['event', ...t.STATES.map((state) => `in ${code(state)}`)],
    EVENTS.map((event) => [code(event), ...t.STATES.map((state) => cellOf(state, event))]),
  );
}

function spawnCells() {
  const isSpawn = (state, event) => outcomes(state, event).some(([, row]) => row?.effects.includes('spawn'));
  const cells = t.STATES.flatMap((state) =>
    EVENTS.filter((event) => isSpawn(state, event)).map((event) => `${code(event)} in ${code(state)}`),
  );
  if (cells.length !== 2) throw new Error(`the prose says "neither" of ${cells.length} cells that spawn`);
  return cells.join(' and ');
}

const SESSION_STATES = ['live', 'restoring', 'dormant', 'closed'];
const SESSION_EVENTS = [
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

function sessionTable() {
  return table(
    ['what happens', ...SESSION_STATES.map((state) => `to a ${state} one`)],
    SESSION_EVENTS.map(([what, event]) => [
      what,
      ...SESSION_STATES.map((state) => {
        const next = t.nextState(state, event);
        return next === undefined ? '·' : code(next);
      }),
    ]),
  );
}

const WHEN_STOPPED = {
  wake: 'starts the daemon, brings the session back, then goes on',
  store: 'answered from the store',
  204: '204; nothing is left to do',
  404: '404 `session_not_found` with `dormant: true`, or that the thing is not known',
};
const ANSWERED_BY = {
  coordinator: 'the coordinator',
  daemon: 'the daemon',
  either: 'the daemon while it runs',
};

function routeTable() {
  return table(
    ['class', 'routes', 'while it runs', 'while nobody has it', 'refused in a drain'],
    Object.entries(t.ROUTE_CLASSES).map(([name, { routes, answeredBy, whenStopped, isWork }]) => [
      name.replaceAll('_', ' '),
      routes.map(code).join(', '),
      wordsFor('place', ANSWERED_BY, answeredBy),
      whenStopped === undefined ? '—' : wordsFor('rule', WHEN_STOPPED, whenStopped),
      isWork === true ? 'yes' : '',
    ]),
  );
}

/** The numbers of this page's rules, by their flags. */
const NUMBERS = {
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

function numberTable(flags) {
  const known = [...t.SUPERVISION_FLAGS, ...t.LIMIT_FLAGS];
  return table(
    ['flag', 'default', 'meaning'],
    flags.map((name) => {
      const found = known.find(({ flag }) => flag === name);
      if (found === undefined) throw new Error(`there is no flag "${name}"`);
      return [code(`--${name}`), found.fallback, found.help];
    }),
  );
}

function livenessWords() {
  const thresholds = t.DEFAULT_SUPERVISE_SETTINGS;
  const beatMs = t.LIMIT_FLAGS.find(({ flag }) => flag === 'feed-beat-ms').fallback;
  const found = t.detectionBoundMs(beatMs, thresholds);
  return `With these numbers a frozen daemon is found within ${found} ms,
and one whose event loop stands still for up to ${t.toleratedPauseMs(beatMs, thresholds)} ms is never taken for frozen.`;
}

const page = `<!-- Made by "npm run docs" from coordinator/domain and coordinator/flags.ts. Do not edit it by hand. -->
# Lifecycle

## A daemon

Every workspace has one cell, and every cell one state. Events come from clients, operators, timers and the daemon's process; an
event that belongs to an earlier process of the workspace is dropped before the table is asked. What the table answers is all
that happens: the next state, and the effects in their order.

A demand that finds no open route parks (within the cool-off of \`failed\` it is refused at once), and leaves once: when the daemon
is ready, with the reason why it will not be, at its deadline, or with its client. Only the effect \`spawn\` makes a process. It
follows from ${spawnCells()} alone, and at neither place is there one: so a workspace never has two.

${table(
  ['state', 'what it means'],
  t.STATES.map((state) => [code(state), wordsFor('state', STATE_WORDS, state)]),
)}

${table(
  ['event', 'what it means'],
  EVENTS.map((event) => [code(event), wordsFor('event', EVENT_WORDS, event)]),
)}

${table(
  ['effect', 'what is done'],
  Object.entries(EFFECT_WORDS).map(([effect, words]) => [code(effect), words]),
)}

### Overview

A dot: the event means nothing there. Several states: the tables below say what decides.

${daemonOverview()}

${t.STATES.map((state) => `### In ${code(state)}\n\n${table(['event', 'when', 'next', 'effects'], daemonRows(state))}`).join('\n\n')}

## A session

The store knows a session in one of four states. \`live\`: a daemon has it. \`restoring\`: its daemon died or is being replaced, and
it is restored automatically. \`dormant\`: no daemon has it, and a gesture restores it. \`closed\`: it is over; only an explicit load
restores it.

A session comes back under its old id, with the clients that were registered, with event ids above every id that was sent, and
on a new bus: a client's old cursor gets \`state_resync_required\`. Prompts that were queued or running are reported there as
\`turn_error\` with the code \`daemon_restarted\`, and are never sent again. A prompt whose end is already in the session's file is not
reported: that end is told to the coordinator, and to clients by a load.

${sessionTable()}

## Routes

Which routes wake a stopped daemon is one table, which the router reads. A gesture wakes; watching does not, because a heartbeat or
a stream that reconnects would otherwise keep every daemon alive for ever.

All routes except the 204s wait for a session that is being restored automatically, up to \`--restore-wait-ms\`. While a workspace is
drained, the classes marked in the last column get 503 \`workspace_draining\`; votes, cancels, heartbeats, streams and reads pass.

A dash: the coordinator answers of itself, and whether a daemon runs makes no difference. A path that is in no row is a 404 at once.

${routeTable()}

## Numbers

Every duration and limit on this page is a flag of \`qwen-coordinator start\` with an environment variable and a default. Durations
are in milliseconds, even if the name does not say so.

A daemon is stopped for idleness when it has no prompt running or queued, no open question and no work that its agent holds, is
not pinned, and had no gesture for \`--idle-timeout-ms\`, or \`--watched-idle-timeout-ms\` while clients are watching. One whose agent
cannot load sessions is kept while it has any. ${livenessWords()}

${Object.entries(NUMBERS)
  .map(([heading, flags]) => `### ${heading}\n\n${numberTable(flags)}`)
  .join('\n\n')}
`;

if (values.print === true) process.stdout.write(page);
else writeFileSync(join(root, 'docs/lifecycle.md'), page);
