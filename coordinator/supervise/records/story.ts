// Renders the story of a workspace for `why`: the state of its daemon and the reason, then its events, newest last. Pure.

import { agoOf, clockOf } from '../../domain/units.ts';
import type { EventRow } from '../../store/store.ts';
import type { DaemonView } from '../fleet.ts';
import { renderEvent, wordsOfCause } from './story-words.ts';

/** What a story is rendered from. */
export interface StoryFacts {
  readonly path: string;
  readonly state: DaemonView['state'];
  readonly pid: number | null;
  readonly incarnation: string | null;
  /** Why the workspace is held; null unless `state` is `held`. */
  readonly heldWhy: string | null;
  /** Why the workspace is drained; null when it is not. */
  readonly drainWhy: string | null;
  /** The workspace's events, in any order. */
  readonly events: readonly EventRow[];
  readonly nowMs: number;
}

export interface Story {
  /** The daemon's state now, and why. */
  readonly summary: string;
  /** The events. Lines are indented, except the heading before each daemon's events. */
  readonly lines: readonly string[];
}

/** Kinds of the events that record a daemon's end. */
export const ENDS: ReadonlySet<string> = new Set([
  'daemon_died',
  'daemon_stopped',
  'daemon_ended',
  'start_failed',
]);

const AT_REST = {
  stopped: 'is stopped',
  backoff: 'died and will be restarted (backoff)',
  failed: 'has failed',
} as const;

export function storyOf(facts: StoryFacts): Story {
  const events = [...facts.events].sort((a, b) => a.id - b.id);
  const drain = facts.drainWhy === null ? '' : ` It takes no new work until "undrain": ${facts.drainWhy}.`;
  return { summary: summaryOf(facts, events) + drain, lines: linesOf(events, facts.nowMs) };
}

function summaryOf(
  { path, state, pid, incarnation, heldWhy, nowMs }: StoryFacts,
  events: readonly EventRow[],
) {
  const subject = `The daemon of ${path}`;
  if (state === 'held') return `${subject} is held, so no new one is started: ${heldWhy}.`;
  const end = events.findLast(({ kind }) => ENDS.has(kind));
  const name = `${numberOf(incarnation)}${pid === null ? '' : `, pid ${pid}`}`;
  switch (state) {
    case 'ready':
      return `${subject} is ready: number ${name}, ${since(events, incarnation, nowMs)}.`;
    case 'starting':
    case 'draining':
    case 'stopping':
      return `${subject} is ${state}: number ${name}, ${since(events, incarnation, nowMs)}.`;
    case 'backoff':
    case 'failed':
    case 'stopped':
      return end === undefined
        ? `${subject} ${AT_REST[state]}: no start of it is on record.`
        : `${subject} ${AT_REST[state]}. ${ending(end, nowMs)}`;
  }
}

function ending(end: EventRow, nowMs: number): string {
  const [sentence, ...more] = renderEvent(end, nowMs);
  const then = more.find((line) => line.startsWith('then: '));
  const what =
    end.kind === 'daemon_died'
      ? sentence
      : `${end.kind === 'start_failed' ? 'could not be started' : 'ended'}: ${wordsOfCause(end.detail)}`;
  const next = then === undefined ? '' : ` ${capital(then.slice('then: '.length))}.`;
  return `Number ${numberOf(end.incarnation)} ${what}, ${when(end.atMs, nowMs)}.${next}`;
}

function since(events: readonly EventRow[], incarnation: string | null, nowMs: number): string {
  const first = events.find((event) => event.incarnation === incarnation);
  if (first === undefined) return 'started before the oldest event on record';
  const last = events.findLast(
    ({ incarnation: of, kind }) => of === incarnation && kind === 'daemon_adopted',
  );
  const taken = last === undefined ? '' : `, taken over ${when(last.atMs, nowMs)}`;
  return `started ${when(first.atMs, nowMs)}${taken}`;
}

function linesOf(events: readonly EventRow[], nowMs: number): readonly string[] {
  let current: string | null = null;
  return events.flatMap((event) => {
    const [sentence, ...more] = renderEvent(event, nowMs);
    const lines = [`  ${when(event.atMs, nowMs)}  ${sentence}`, ...more.map((line) => `      ${line}`)];
    if (event.incarnation === null || event.incarnation === current) return lines;
    current = event.incarnation;
    return [`Daemon ${numberOf(current)} (${current})`, ...lines];
  });
}

function when(atMs: number, nowMs: number): string {
  return `${clockOf(atMs)} (${agoOf(atMs, nowMs)})`;
}

/** The `n` of an incarnation `<workspace id>-<n>`; `?` when no incarnation is known. */
function numberOf(incarnation: string | null): string {
  return incarnation?.split('-').at(-1) ?? '?';
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
