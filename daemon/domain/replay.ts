// What a client that loads a session is shown: the finished turns with their texts merged, and the journal of the turn that
// is not finished. Held in memory for a live session, within bounds; what is left out is said.

import { asRecord } from '../contract/json-record.ts';
import type { EventEnvelope } from '../contract/wire.ts';
import { isOfSummary, Journal, type PastEvent } from './journal.ts';
import { isOfTranscript, isTerminal, mergeTexts, TurnBounds, updateOf } from './transcript.ts';

export interface ReplayBounds {
  /** Finished turns, as JSON. */
  readonly compactedReplayMaxBytes: number;
  readonly maxJournalEvents: number;
  readonly maxJournalBytes: number;
}

export interface ReplayOptions extends ReplayBounds {
  /** Whether the ids of events name their records, as they do where we record the session. */
  readonly isRecorded: boolean;
  /** Whether what a replay leaves out can be read in the session's transcript, all of it. */
  readonly isTranscriptWhole: () => boolean;
}

export type ReplayMode = 'full' | 'summary';

export interface ReplayQuery {
  readonly compactedMode: ReplayMode;
  readonly journalMode: ReplayMode;
  /** Newest records wanted; undefined: all that are held. Items then have no ids. */
  readonly pageSize: number | undefined;
}

export interface PromptTerminal {
  readonly v: 1;
  readonly promptId: string;
  readonly terminal: 'completed' | 'cancelled' | 'error' | 'interrupted';
  readonly stopReason?: string;
  readonly code?: string;
  readonly at: number;
}

export interface ReplayAnswer {
  readonly compactedReplay: readonly EventEnvelope[];
  readonly liveJournal: readonly EventEnvelope[];
  readonly historyHasMore?: true;
  readonly historyAnchorRecordId?: string;
}

/** What is gone before the first turn that is held. */
export interface Dropped {
  readonly turns: number;
  readonly events: number;
}

interface Turn {
  readonly json: string;
  readonly events: number;
}

const NONE: Dropped = { turns: 0, events: 0 };
/** The key under which qwen agents name an update's record. */
const RECORD_ID_KEY = 'qwen.session.recordId';
const MAX_TERMINALS = 64;

export class Replay {
  readonly #bounds: ReplayOptions;
  readonly #journal: Journal;
  readonly #turnBounds = new TurnBounds();
  /** As JSON: an old turn is one string, not a tree of objects. */
  #turns: Turn[] = [];
  #turnBytes = 0;
  #dropped: Dropped = NONE;
  #terminals: PromptTerminal[] = [];
  #hasUnseenPast = false;

  constructor(bounds: ReplayOptions) {
    this.#bounds = bounds;
    this.#journal = new Journal({ maxEvents: bounds.maxJournalEvents, maxBytes: bounds.maxJournalBytes });
  }

  /** Prompt of the turn that is not finished, where one is open. */
  get openPromptId(): string | undefined {
    return this.#turnBounds.openPromptId;
  }

  /** @param bytes what the event takes as JSON. */
  note(event: PastEvent, bytes: number): void {
    if (!isOfTranscript(event.type, event.data)) {
      this.#journal.add(event, bytes);
      return;
    }
    const { before, after } = this.#turnBounds.see(event);
    if (before) this.#closeTurn();
    this.#journal.add(event, bytes);
    if (isTerminal(event.type)) this.#noteTerminal(event);
    if (after) this.#closeTurn();
  }

  /** Counts what the source of a restore had to leave out, or says that it gave nothing of the past. */
  noteMissing(dropped: Dropped, hasUnseenPast: boolean): void {
    this.#dropped = {
      turns: this.#dropped.turns + dropped.turns,
      events: this.#dropped.events + dropped.events,
    };
    this.#hasUnseenPast ||= hasUnseenPast;
  }

  /** The events so far are a finished turn, whatever is missing at its end. */
  finishTurn(): void {
    this.#closeTurn();
    this.#turnBounds.reset();
  }

  #closeTurn(): void {
    if (this.#journal.isEmpty) return;
    const { events, droppedEvents } = this.#journal.take();
    this.#dropped = { ...this.#dropped, events: this.#dropped.events + droppedEvents };
    const merged = mergeTexts(events.filter(({ type, data }) => isOfTranscript(type, data)));
    if (merged.length === 0) return;
    const kept = newestWithin(merged, this.#bounds.compactedReplayMaxBytes);
    this.#dropped = { ...this.#dropped, events: this.#dropped.events + merged.length - kept.length };
    const turn = { json: `[${kept.join(',')}]`, events: kept.length };
    this.#turns.push(turn);
    this.#turnBytes += turn.json.length;
    this.#dropOldTurns();
  }

  /** The newest terminals that are known. */
  terminals(): readonly PromptTerminal[] {
    return this.#terminals;
  }

  answer({ compactedMode, journalMode, pageSize }: ReplayQuery, nowMs: number): ReplayAnswer {
    const held = this.#turns.flatMap(({ json }) => JSON.parse(json) as PastEvent[]);
    const page = pageSize === undefined ? held : held.slice(Math.max(0, held.length - pageSize));
    const dropped = this.#dropped.events > 0 || this.#dropped.turns > 0;
    const journal = this.#journal.events();
    const isPaged = page.length < held.length;
    const anchor = this.#anchorIn([...page, ...journal]);
    const hasMore = isPaged || dropped || this.#hasUnseenPast;
    const shown = page.filter((event) => compactedMode === 'full' || isOfSummary(event));
    const compacted = shown.map((event) => envelopeOf(event, pageSize === undefined));
    if (dropped && !isPaged) compacted.unshift(this.#turnsTruncated(page, nowMs));
    const unfinished = journal.filter((event) => journalMode === 'full' || isOfSummary(event));
    return {
      compactedReplay: compacted,
      liveJournal: [
        ...this.#journalTruncated(journal, nowMs),
        ...unfinished.map((event) => envelopeOf(event, true)),
      ],
      ...(hasMore ? { historyHasMore: true } : {}),
      ...(hasMore && anchor !== undefined ? { historyAnchorRecordId: anchor } : {}),
    };
  }

  /** Ends of before, of turns that somebody else tells of, oldest first. */
  remember(terminals: readonly PromptTerminal[]): void {
    this.#terminals = [...this.#terminals, ...terminals].slice(-MAX_TERMINALS);
  }

  #dropOldTurns(): void {
    let count = 0;
    while (count < this.#turns.length && this.#turnBytes > this.#bounds.compactedReplayMaxBytes) {
      const turn = this.#turns[count] as Turn;
      this.#turnBytes -= turn.json.length;
      this.#dropped = { turns: this.#dropped.turns + 1, events: this.#dropped.events + turn.events };
      count += 1;
    }
    this.#turns.splice(0, count);
  }

  #noteTerminal(event: PastEvent): void {
    const terminal = terminalOf(event);
    if (terminal !== undefined) this.remember([terminal]);
  }

  /** The oldest record that is shown: what comes before it is what the client has not seen. */
  #anchorIn(events: readonly PastEvent[]): string | undefined {
    for (const { id, type, data } of events) {
      if (this.#bounds.isRecorded && id !== undefined && isOfTranscript(type, data)) return String(id);
      const named = asRecord(updateOf(data)._meta)[RECORD_ID_KEY];
      if (typeof named === 'string') return named;
    }
    return undefined;
  }

  #turnsTruncated(retained: readonly PastEvent[], nowMs: number): EventEnvelope {
    const recordId = this.#anchorIn(retained);
    return this.#truncatedNotice(
      {
        truncatedEvents: this.#dropped.events,
        truncatedTurns: this.#dropped.turns,
        retainedEvents: retained.length,
        maxBytes: this.#bounds.compactedReplayMaxBytes,
        ...(recordId === undefined ? {} : { recordId }),
      },
      nowMs,
    );
  }

  #journalTruncated(retained: readonly PastEvent[], nowMs: number): EventEnvelope[] {
    if (this.#journal.droppedEvents === 0) return [];
    const recordId = this.#anchorIn(retained);
    return [
      this.#truncatedNotice(
        {
          scope: 'live_journal',
          truncatedEvents: this.#journal.droppedEvents,
          retainedEvents: retained.length,
          maxBytes: this.#bounds.maxJournalBytes,
          maxEvents: this.#bounds.maxJournalEvents,
          ...(recordId === undefined ? {} : { recordId }),
        },
        nowMs,
      ),
    ];
  }

  #truncatedNotice(facts: Readonly<Record<string, unknown>>, nowMs: number): EventEnvelope {
    const fullTranscriptAvailable = this.#bounds.isTranscriptWhole();
    return {
      v: 1,
      type: 'history_truncated',
      data: { reason: 'replay_window_exceeded', ...facts, fullTranscriptAvailable },
      _meta: { serverTimestamp: nowMs },
    };
  }
}

/** JSON of the newest events that fit: a turn larger than the bound keeps its end. */
function newestWithin(events: readonly PastEvent[], maxBytes: number): string[] {
  const kept: string[] = [];
  let bytes = 2;
  for (const event of events.toReversed()) {
    const json = JSON.stringify(event);
    bytes += json.length + 1;
    if (bytes > maxBytes) break;
    kept.push(json);
  }
  return kept.reverse();
}

function envelopeOf(
  { id, type, data, promptId, originatorClientId, atMs }: PastEvent,
  hasId: boolean,
): EventEnvelope {
  return {
    ...(hasId && id !== undefined ? { id } : {}),
    v: 1,
    type,
    data,
    ...(promptId === undefined ? {} : { promptId }),
    ...(originatorClientId === undefined ? {} : { originatorClientId }),
    _meta: { serverTimestamp: atMs },
  };
}

/** How the turn of a terminal event ended; undefined where it names no prompt. */
export function terminalOf({ type, data, promptId, atMs }: PastEvent): PromptTerminal | undefined {
  const { promptId: named, stopReason, code } = asRecord(data);
  const id = promptId ?? named;
  if (typeof id !== 'string') return undefined;
  const base = { v: 1 as const, promptId: id, at: atMs };
  if (type === 'turn_error')
    return {
      ...base,
      terminal: code === 'daemon_restarted' ? 'interrupted' : 'error',
      ...(typeof code === 'string' ? { code } : {}),
    };
  return {
    ...base,
    terminal: stopReason === 'cancelled' ? 'cancelled' : 'completed',
    ...(typeof stopReason === 'string' ? { stopReason } : {}),
  };
}
