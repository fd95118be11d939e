// The replay of a live session, for the answer to `POST /session/:id/load`: the finished turns with their texts merged, and
// the journal of the unfinished turn. Kept in memory, within bounds; the answer says what was left out.

import { asRecord } from '../contract/json-record.ts';
import type { EventEnvelope } from '../contract/wire.ts';
import { type Dropped, FinishedTurns } from './finished-turns.ts';
import { isOfSummary, Journal, type PastEvent } from './journal.ts';
import { type PromptTerminal, terminalOf } from './prompt-terminal.ts';
import { isOfTranscript, isTerminal, RECORD_ID_KEY, TurnBounds, updateOf } from './transcript.ts';

export interface ReplayBounds {
  /** Bound of all finished turns together, as JSON text. */
  readonly compactedReplayMaxBytes: number;
  readonly maxJournalEvents: number;
  readonly maxJournalBytes: number;
}

export interface ReplayOptions extends ReplayBounds {
  /** Whether an event's id on the bus is also the id of its transcript record: true if the daemon records the session. */
  readonly isRecorded: boolean;
  /** Whether everything that a replay leaves out can be read in the session's transcript. */
  readonly isTranscriptWhole: () => boolean;
}

/** `summary` leaves out the agent's thoughts, and the updates of tools that still work. */
export type ReplayMode = 'full' | 'summary';

export interface ReplayQuery {
  readonly compactedMode: ReplayMode;
  readonly journalMode: ReplayMode;
  /** How many of the newest events of finished turns to show, without their ids; undefined: all kept events, with their ids. */
  readonly pageSize: number | undefined;
}

export interface ReplayAnswer {
  readonly compactedReplay: readonly EventEnvelope[];
  readonly liveJournal: readonly EventEnvelope[];
  readonly historyHasMore?: true;
  readonly historyAnchorRecordId?: string;
}

const MAX_TERMINALS = 64;

export class Replay {
  readonly #options: ReplayOptions;
  readonly #turns: FinishedTurns;
  readonly #journal: Journal;
  readonly #turnBounds = new TurnBounds();
  #terminals: PromptTerminal[] = [];
  #hasUnseenPast = false;

  constructor(options: ReplayOptions) {
    this.#options = options;
    this.#turns = new FinishedTurns(options.compactedReplayMaxBytes);
    this.#journal = new Journal({ maxEvents: options.maxJournalEvents, maxBytes: options.maxJournalBytes });
  }

  /** Prompt of the unfinished turn; undefined when no turn is unfinished, or its events name no prompt. */
  get openPromptId(): string | undefined {
    return this.#turnBounds.openPromptId;
  }

  /** Adds an event; a turn that the event ends goes to the finished turns. @param bytes length of the event as JSON. */
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

  /**
   * Counts earlier events of a restored session that its transcript or its agent's load replay lacks.
   * @param hasUnseenPast whether the session has earlier events, and the restore brought back none of them.
   */
  noteMissing(dropped: Dropped, hasUnseenPast: boolean): void {
    this.#turns.noteMissing(dropped);
    this.#hasUnseenPast ||= hasUnseenPast;
  }

  /** Moves the events of the unfinished turn to the finished turns, although no event has ended the turn. */
  finishTurn(): void {
    this.#closeTurn();
    this.#turnBounds.reset();
  }

  #closeTurn(): void {
    if (this.#journal.isEmpty) return;
    const { events, droppedEvents } = this.#journal.take();
    this.#turns.noteMissing({ turns: 0, events: droppedEvents });
    this.#turns.add(events);
  }

  /** How the newest turns ended, the oldest of them first, at most 64. */
  terminals(): readonly PromptTerminal[] {
    return this.#terminals;
  }

  /** Adds ends of turns that are known from elsewhere than events given to `note`, oldest first. */
  remember(terminals: readonly PromptTerminal[]): void {
    this.#terminals = [...this.#terminals, ...terminals].slice(-MAX_TERMINALS);
  }

  /** The replay for one load. @param nowMs the `serverTimestamp` of the notices about events that were left out. */
  answer({ compactedMode, journalMode, pageSize }: ReplayQuery, nowMs: number): ReplayAnswer {
    const kept = this.#turns.events();
    const page = pageSize === undefined ? kept : kept.slice(Math.max(0, kept.length - pageSize));
    const { hasDropped } = this.#turns;
    const journal = this.#journal.events();
    const isPaged = page.length < kept.length;
    const anchor = this.#anchorIn([...page, ...journal]);
    const hasMore = isPaged || hasDropped || this.#hasUnseenPast;
    const shown = page.filter((event) => compactedMode === 'full' || isOfSummary(event));
    const compacted = shown.map((event) => envelopeOf(event, pageSize === undefined));
    if (hasDropped && !isPaged) compacted.unshift(this.#turnsTruncated(page, nowMs));
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

  #noteTerminal(event: PastEvent): void {
    const terminal = terminalOf(event);
    if (terminal !== undefined) this.remember([terminal]);
  }

  /** Record id of the oldest shown event, before which a client reads further back; undefined when no event has a record id. */
  #anchorIn(events: readonly PastEvent[]): string | undefined {
    for (const { id, type, data } of events) {
      if (this.#options.isRecorded && id !== undefined && isOfTranscript(type, data)) return String(id);
      const named = asRecord(updateOf(data)._meta)[RECORD_ID_KEY];
      if (typeof named === 'string') return named;
    }
    return undefined;
  }

  #turnsTruncated(retained: readonly PastEvent[], nowMs: number): EventEnvelope {
    const { turns, events } = this.#turns.dropped;
    const facts = {
      truncatedEvents: events,
      truncatedTurns: turns,
      retainedEvents: retained.length,
      maxBytes: this.#options.compactedReplayMaxBytes,
    };
    return this.#truncatedNotice(facts, retained, nowMs);
  }

  #journalTruncated(retained: readonly PastEvent[], nowMs: number): EventEnvelope[] {
    if (this.#journal.droppedEvents === 0) return [];
    const facts = {
      scope: 'live_journal',
      truncatedEvents: this.#journal.droppedEvents,
      retainedEvents: retained.length,
      maxBytes: this.#options.maxJournalBytes,
      maxEvents: this.#options.maxJournalEvents,
    };
    return [this.#truncatedNotice(facts, retained, nowMs)];
  }

  #truncatedNotice(
    facts: Readonly<Record<string, unknown>>,
    retained: readonly PastEvent[],
    nowMs: number,
  ): EventEnvelope {
    const recordId = this.#anchorIn(retained);
    return {
      v: 1,
      type: 'history_truncated',
      data: {
        reason: 'replay_window_exceeded',
        ...facts,
        ...(recordId === undefined ? {} : { recordId }),
        fullTranscriptAvailable: this.#options.isTranscriptWhole(),
      },
      _meta: { serverTimestamp: nowMs },
    };
  }
}

/** The event in the form of the wire. @param hasId whether the envelope has the event's id on the bus. */
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
