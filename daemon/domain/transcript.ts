// The rules of a transcript: which kinds of events belong to it, where a turn ends, and which chunks are one text. Recording,
// compaction and replay all use these rules.
import { asRecord, isRecord, type JsonRecord } from '../contract/json-record.ts';

/** The fields of an event by which the rules of a transcript decide. */
export interface TranscriptEvent {
  readonly type: string;
  readonly data: unknown;
  readonly promptId?: string | undefined;
}

/** Kinds of updates that the next update of the same kind replaces: a replay that repeated them would show stale values. */
const PASSING_KINDS = new Set([
  'available_commands_update',
  'current_mode_update',
  'current_model_update',
  'config_option_update',
  'session_info_update',
  'usage_update',
]);

const MERGED_KINDS = new Set(['agent_message_chunk', 'agent_thought_chunk']);

/** The key of an update's `_meta` that has the id of the update's record: qwen agents set it, clients read it. */
export const RECORD_ID_KEY = 'qwen.session.recordId';

/** Whether events of this type end a turn. */
export function isTerminal(type: string): boolean {
  return type === 'turn_complete' || type === 'turn_error';
}

/** The ACP update in the data of a `session_update`: the field `update`, or in transcripts of some agents the data itself. */
export function updateOf(data: unknown): JsonRecord {
  const record = asRecord(data);
  return isRecord(record.update) ? record.update : record;
}

/** Whether a transcript keeps the event: ends of turns, and every session update but those of `PASSING_KINDS`. */
export function isOfTranscript(type: string, data: unknown): boolean {
  if (type !== 'session_update') return isTerminal(type);
  const kind = updateOf(data).sessionUpdate;
  return typeof kind === 'string' && !PASSING_KINDS.has(kind);
}

function isUserChunk({ type, data }: TranscriptEvent): boolean {
  return type === 'session_update' && updateOf(data).sessionUpdate === 'user_message_chunk';
}

/**
 * Finds the turns in a sequence of events. A turn ends with its terminal event. A turn without terminal event (an agent's load
 * replay has none, and a daemon that was killed left none) ends where the next user message begins. The terminal event of a
 * prompt that never ran may stand inside another prompt's turn.
 */
export class TurnBounds {
  #promptId: string | undefined;
  /** What the open turn has: only user messages (`question`), or output of the agent (`answer`); `nothing`: no open turn. */
  #has: 'nothing' | 'question' | 'answer' = 'nothing';

  /** Whether a turn is open: `see` was given events since the last end of a turn. */
  get isOpen(): boolean {
    return this.#has !== 'nothing';
  }

  /** Prompt of the open turn; undefined when no turn is open, or its events name no prompt. */
  get openPromptId(): string | undefined {
    return this.isOpen ? this.#promptId : undefined;
  }

  /** Takes the next event. @returns whether a turn ends `before` this event, or with this event (`after`). */
  see(event: TranscriptEvent): { readonly before: boolean; readonly after: boolean } {
    if (isTerminal(event.type)) return { before: false, after: this.#seeTerminal(event) };
    const isUser = isUserChunk(event);
    const before = isUser && this.isOpen && this.#isOfNextTurn(event.promptId);
    if (before || this.#has === 'nothing') this.#promptId = event.promptId;
    this.#has = isUser && (before || this.#has !== 'answer') ? 'question' : 'answer';
    return { before, after: false };
  }

  /** Ends the open turn, if there is one, without a terminal event. */
  reset(): void {
    this.#has = 'nothing';
    this.#promptId = undefined;
  }

  #isOfNextTurn(promptId: string | undefined): boolean {
    if (this.#promptId !== undefined && promptId !== undefined) return promptId !== this.#promptId;
    return this.#has === 'answer';
  }

  #seeTerminal({ data, promptId }: TranscriptEvent): boolean {
    const ended = promptId ?? asRecord(data).promptId;
    const isOurs = !this.isOpen || this.#promptId === undefined || ended === this.#promptId;
    if (isOurs) this.reset();
    return isOurs;
  }
}

/**
 * Most characters of one text in one record of a transcript; a longer text becomes several records, cut between its chunks.
 * The view and the compaction of a transcript cut at the same places, so that the ids of records stay valid.
 */
export const MAX_RECORD_CHARS = 1024 * 1024;

/**
 * Finds the chunks that make up one text, without keeping the text. Blocks of user messages are not joined: each is what the
 * person sent. Every event of a session passes through this class, so it reads the fields that identify the text only once.
 */
export class TextSpan {
  readonly #promptId: string | undefined;
  readonly #kind: unknown;
  readonly #messageId: unknown;
  readonly #maxChars: number;
  #chars = 0;

  constructor(first: TranscriptEvent, maxChars = Number.POSITIVE_INFINITY) {
    this.#promptId = first.promptId;
    this.#maxChars = maxChars;
    if (first.type !== 'session_update') return;
    const update = updateOf(first.data);
    const text = MERGED_KINDS.has(String(update.sessionUpdate)) ? textOf(update.content) : undefined;
    if (text === undefined) return;
    this.#kind = update.sessionUpdate;
    this.#messageId = update.messageId;
    this.#chars = text.length;
  }

  /** Whether the first event is a chunk of text that further chunks may continue. */
  get isText(): boolean {
    return this.#kind !== undefined;
  }

  /** Counts the event's characters if it continues the text within `maxChars`. @returns false when it does not. */
  extend(next: TranscriptEvent): boolean {
    if (this.#kind === undefined || next.type !== 'session_update') return false;
    if (next.promptId !== this.#promptId) return false;
    const update = updateOf(next.data);
    if (update.sessionUpdate !== this.#kind || update.messageId !== this.#messageId) return false;
    const text = textOf(update.content);
    if (text === undefined || this.#chars + text.length > this.#maxChars) return false;
    this.#chars += text.length;
    return true;
  }
}

/** Joins the chunks of one text into one event. The text is copied once at the end, not with each chunk. */
export class TextRun<Event extends TranscriptEvent> extends TextSpan {
  readonly #first: Event;
  readonly #texts: string[] = [];
  #meta: JsonRecord | undefined;

  constructor(first: Event, maxChars?: number) {
    super(first, maxChars);
    this.#first = first;
    if (this.isText) this.#take(first);
  }

  /** Whether the run still has only its first event. */
  get isSingle(): boolean {
    return this.#texts.length <= 1;
  }

  /** Adds the event if it continues the text, see `extend`. @returns false when it does not. */
  add(next: Event): boolean {
    if (!this.extend(next)) return false;
    this.#take(next);
    return true;
  }

  /** The first event; if further events were added, with the text and the `_meta` of all of them. */
  merged(): Event {
    if (this.isSingle) return this.#first;
    const update = updateOf(this.#first.data);
    const content = { ...asRecord(update.content), text: this.#texts.join('') };
    const meta = this.#meta === undefined ? {} : { _meta: this.#meta };
    return { ...this.#first, data: withUpdate(this.#first.data, { ...update, content, ...meta }) };
  }

  #take({ data }: Event): void {
    const { content, _meta } = updateOf(data);
    this.#texts.push(textOf(content) ?? '');
    if (isRecord(_meta)) this.#meta = { ...this.#meta, ..._meta };
  }
}

/** The text of an ACP text block; undefined for content of any other type. */
function textOf(content: unknown): string | undefined {
  if (!isRecord(content) || content.type !== 'text') return undefined;
  return typeof content.text === 'string' ? content.text : undefined;
}

function withUpdate(data: unknown, update: JsonRecord): JsonRecord {
  const record = asRecord(data);
  return isRecord(record.update) ? { ...record, update } : update;
}

/** The events with the chunks of each text merged into one. */
export function mergeTexts<Event extends TranscriptEvent>(events: readonly Event[]): Event[] {
  const merged: Event[] = [];
  let run: TextRun<Event> | undefined;
  for (const event of events) {
    if (run?.add(event) === true) continue;
    if (run !== undefined) merged.push(run.merged());
    run = new TextRun(event);
  }
  if (run !== undefined) merged.push(run.merged());
  return merged;
}
