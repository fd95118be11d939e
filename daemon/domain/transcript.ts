// What of a session's events is its past: which kinds belong to a transcript, where a turn ends, and which chunks are one
// text. Recording, compaction and replay all decide by these rules.
import { asRecord, isRecord, type JsonRecord } from '../contract/json-record.ts';

/** The parts of an event that the rules look at. */
export interface TranscriptEvent {
  readonly type: string;
  readonly data: unknown;
  readonly promptId?: string | undefined;
}

/** States that the next report replaces, and figures: a replay that repeated them would show stale ones. */
const PASSING_KINDS = new Set([
  'available_commands_update',
  'current_mode_update',
  'current_model_update',
  'config_option_update',
  'session_info_update',
  'usage_update',
]);

const MERGED_KINDS = new Set(['agent_message_chunk', 'agent_thought_chunk']);

/** The key of an update's `_meta` under which qwen agents name its record, and clients look for the name. */
export const RECORD_ID_KEY = 'qwen.session.recordId';

/** Whether the event is a turn's end. */
export function isTerminal(type: string): boolean {
  return type === 'turn_complete' || type === 'turn_error';
}

/** The `update` of a `session_update`; some transcripts hold it bare. */
export function updateOf(data: unknown): JsonRecord {
  const record = asRecord(data);
  return isRecord(record.update) ? record.update : record;
}

/** Whether the event belongs to a transcript. */
export function isOfTranscript(type: string, data: unknown): boolean {
  if (type !== 'session_update') return isTerminal(type);
  const kind = updateOf(data).sessionUpdate;
  return typeof kind === 'string' && !PASSING_KINDS.has(kind);
}

function isUserChunk({ type, data }: TranscriptEvent): boolean {
  return type === 'session_update' && updateOf(data).sessionUpdate === 'user_message_chunk';
}

/**
 * Finds the turns in a run of events. A turn ends with its terminal event; one without (an agent's own replay has none,
 * and neither has a daemon that was killed) ends where the next user message begins. The end of a prompt that never ran
 * may stand inside another one's turn.
 */
export class TurnBounds {
  #promptId: string | undefined;
  /** What the open turn has so far. */
  #has: 'nothing' | 'question' | 'answer' = 'nothing';

  /** Whether events were seen since the last end of a turn. */
  get isOpen(): boolean {
    return this.#has !== 'nothing';
  }

  /** Prompt of the open turn, where its events name one. */
  get openPromptId(): string | undefined {
    return this.isOpen ? this.#promptId : undefined;
  }

  /** @returns whether a turn ends `before` this event, or `after` it (with it). */
  see(event: TranscriptEvent): { readonly before: boolean; readonly after: boolean } {
    if (isTerminal(event.type)) return { before: false, after: this.#seeTerminal(event) };
    const isUser = isUserChunk(event);
    const before = isUser && this.isOpen && this.#isOfNextTurn(event.promptId);
    if (before || this.#has === 'nothing') this.#promptId = event.promptId;
    this.#has = isUser && (before || this.#has !== 'answer') ? 'question' : 'answer';
    return { before, after: false };
  }

  /** What was seen so far is over. */
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
 * Characters of one text that a record of a transcript holds; a longer text is several records, cut between its chunks. Who
 * shows a transcript and who compacts it cut by the same rule, so that the names of records hold.
 */
export const MAX_RECORD_CHARS = 1024 * 1024;

/**
 * Which chunks are one text, without the text. User blocks stay apart: they are what the person sent. It is asked about every
 * event of a session, so what identifies the text is worked out once.
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

  /** Whether others may continue it. */
  get isText(): boolean {
    return this.#kind !== undefined;
  }

  /** Counts the event in if it only continues the text, and has room. @returns false when it does not. */
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

/** The chunks of one text, added up without copying it per chunk. */
export class TextRun<Event extends TranscriptEvent> extends TextSpan {
  readonly #first: Event;
  readonly #texts: string[] = [];
  #meta: JsonRecord | undefined;

  constructor(first: Event, maxChars?: number) {
    super(first, maxChars);
    this.#first = first;
    if (this.isText) this.#take(first);
  }

  /** Whether nothing was added to the first event. */
  get isSingle(): boolean {
    return this.#texts.length <= 1;
  }

  /** Adds the event if it only continues the text. @returns false when it does not. */
  add(next: Event): boolean {
    if (!this.extend(next)) return false;
    this.#take(next);
    return true;
  }

  /** The event itself when it stayed alone, else the first with the whole text and everybody's `_meta`. */
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

/** The text of a plain text block. */
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
