// Makes the text of docs/lifecycle.md from the tables that the code runs by. Prose is here; every state, event, effect, route and
// number comes from the code.
import { eventsOf, overview, spawnCells, stateRows } from './daemon-tables.mjs';
import { code, table } from './markdown.mjs';
import { numberTable, routeTable, sessionTable } from './tables.mjs';
import { EFFECT_WORDS, EVENT_WORDS, NUMBERS, STATE_WORDS, wordsFor } from './words.mjs';

/** The sentence about how long a frozen daemon can go unnoticed, and how long a pause of its event loop is tolerated. */
function livenessWords(t) {
  const thresholds = t.DEFAULT_SUPERVISE_SETTINGS;
  const beatMs = t.LIMIT_FLAGS.find(({ flag }) => flag === 'feed-beat-ms').fallback;
  const found = t.detectionBoundMs(beatMs, thresholds);
  return `With these numbers a frozen daemon is found within ${found} ms,
and one whose event loop stands still for up to ${t.toleratedPauseMs(beatMs, thresholds)} ms is never taken for frozen.`;
}

/**
 * The whole page.
 * @param t the exports named in deploy/docs.mjs.
 * @throws when the code has a name that words.mjs does not have.
 */
export function lifecyclePage(t) {
  const flags = [...t.SUPERVISION_FLAGS, ...t.LIMIT_FLAGS];
  return `<!-- Made by "npm run docs" from coordinator/domain and coordinator/flags.ts. Do not edit it by hand. -->
# Lifecycle

## A daemon

Every workspace's daemon has one controller, and every controller one state. Events come from clients, operators, timers and the daemon's process; an
event that belongs to an earlier process of the workspace is dropped before the table is asked. What the table answers is all
that happens: the next state, and the effects in their order.

A demand that finds no open route parks (within the cool-off of \`failed\` it is refused at once), and leaves once: when the daemon
is ready, with the reason why it will not be, at its deadline, or with its client. Only the effect \`spawn\` makes a process. It
follows from ${spawnCells(t)} alone, and at neither place is there one: so a workspace never has two.

${table(
  ['state', 'what it means'],
  t.STATES.map((state) => [code(state), wordsFor('state', STATE_WORDS, state)]),
)}

${table(
  ['event', 'what it means'],
  eventsOf(t).map((event) => [code(event), wordsFor('event', EVENT_WORDS, event)]),
)}

${table(
  ['effect', 'what is done'],
  Object.entries(EFFECT_WORDS).map(([effect, words]) => [code(effect), words]),
)}

### Overview

A dot: the event means nothing there. Several states: the tables below say what decides.

${overview(t)}

${t.STATES.map((state) => `### In ${code(state)}\n\n${table(['event', 'when', 'next', 'effects'], stateRows(t, state))}`).join('\n\n')}

## A session

The store knows a session in one of four states. \`live\`: a daemon has it. \`restoring\`: its daemon died or is being replaced, and
it is restored automatically. \`dormant\`: no daemon has it, and a gesture restores it. \`closed\`: it is over; only an explicit load
restores it.

A session comes back under its old id, with the clients that were registered, with event ids above every id that was sent, and
on a new bus: a client's old cursor gets \`state_resync_required\`. Prompts that were queued or running are reported there as
\`turn_error\` with the code \`daemon_restarted\`, and are never sent again. A prompt whose end is already in the session's file is not
reported: that end is told to the coordinator, and to clients by a load.

${sessionTable(t.nextState)}

## Routes

Which routes wake a stopped daemon is one table, which the router reads. A gesture wakes; watching does not, because a heartbeat or
a stream that reconnects would otherwise keep every daemon alive for ever.

All routes except the 204s wait for a session that is being restored automatically, up to \`--restore-wait-ms\`. While a workspace is
drained, the classes marked in the last column get 503 \`workspace_draining\`; votes, cancels, heartbeats, streams and reads pass.

A dash: the coordinator answers of itself, and whether a daemon runs makes no difference. A path that is in no row is a 404 at once.

${routeTable(t.ROUTE_CLASSES)}

## Numbers

Every duration and limit on this page is a flag of \`qwen-coordinator start\` with an environment variable and a default. Durations
are in milliseconds, even if the name does not say so.

A daemon is stopped for idleness when it has no prompt running or queued, no open question and no work that its agent holds, is
not pinned, and had no gesture for \`--idle-timeout-ms\`, or \`--watched-idle-timeout-ms\` while clients are watching. One whose agent
cannot load sessions is kept while it has any. ${livenessWords(t)}

${Object.entries(NUMBERS)
  .map(([heading, names]) => `### ${heading}\n\n${numberTable(names, flags)}`)
  .join('\n\n')}
`;
}
