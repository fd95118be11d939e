// Makes the tables of docs/lifecycle.md about a daemon: every field of the state table, with the facts that decide between its
// outcomes. `machine` is {STATES, TABLE, step} of coordinator/domain/daemon-state.ts.
import { code, table } from './markdown.mjs';
import { EFFECT_WORDS, EVENT_WORDS, wordsFor } from './words.mjs';

const VERDICTS = [
  ['the end was wanted', { verdict: { kind: 'clean' } }],
  ['a further try is due', { verdict: { kind: 'retry', afterMs: 0 } }],
  ['it died too often', { verdict: { kind: 'failed', untilMs: 0 } }],
];

/** For each event whose outcome depends on its facts: every case, as words for the page and the facts themselves. */
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

/** Every event that some state takes, in the order of `EVENT_WORDS`. */
export function eventsOf(machine) {
  const order = Object.keys(EVENT_WORDS);
  const events = [...new Set(Object.values(machine.TABLE).flatMap((row) => Object.keys(row)))];
  return events.sort((a, b) => order.indexOf(a) - order.indexOf(b));
}

/**
 * Every outcome of an event in a state, as [when, row]: one for each case in `VARIANTS`, or a single outcome with an empty
 * `when`.
 */
function outcomes(machine, state, event) {
  const cell = machine.TABLE[state][event];
  if (cell === undefined) return [];
  if (typeof cell !== 'function') return [['', cell]];
  const variants = VARIANTS[event];
  if (variants === undefined)
    throw new Error(
      `deploy/lifecycle/daemon-tables.mjs does not know what the outcome of "${event}" depends on`,
    );
  return variants.map(([when, fields]) => [
    when,
    machine.step(state, { type: event, incarnation: 'i', ...fields }),
  ]);
}

/** The rows of the page's table about one state: event, when, next state, effects. */
export function stateRows(machine, state) {
  return eventsOf(machine).flatMap((event) =>
    outcomes(machine, state, event).map(([when, row]) => [
      code(event),
      when,
      row === undefined ? 'nothing' : row.next === state ? 'stays' : code(row.next),
      row === undefined
        ? ''
        : row.effects.map((effect) => wordsFor('effect', EFFECT_WORDS, effect) && code(effect)).join(', '),
    ]),
  );
}

/** A table of the next states, with a row for each event and a column for each state. */
export function overview(machine) {
  const cellOf = (state, event) => {
    const next = [...new Set(outcomes(machine, state, event).map(([, row]) => row?.next ?? 'nothing'))];
    return next.length === 0 ? '·' : next.join(' / ');
  };
  return table(
    ['event', ...machine.STATES.map((state) => `in ${code(state)}`)],
    eventsOf(machine).map((event) => [code(event), ...machine.STATES.map((state) => cellOf(state, event))]),
  );
}

/**
 * The fields that have the effect `spawn`, in words.
 * @throws when they are not two, which the page's sentence about them says.
 */
export function spawnCells(machine) {
  const isSpawn = (state, event) =>
    outcomes(machine, state, event).some(([, row]) => row?.effects.includes('spawn'));
  const cells = machine.STATES.flatMap((state) =>
    eventsOf(machine)
      .filter((event) => isSpawn(state, event))
      .map((event) => `${code(event)} in ${code(state)}`),
  );
  if (cells.length !== 2) throw new Error(`the prose says "neither" of ${cells.length} cells that spawn`);
  return cells.join(' and ');
}
