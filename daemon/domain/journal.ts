// The events of a session since its last turn ended, within bounds: the chunks of one text are one entry, and when a bound
// is reached the oldest entries are dropped.
import { isOfTranscript, TextRun, updateOf } from './transcript.ts';

/** An event of a session as the session's replay keeps it in memory. */
export interface PastEvent {
  /** Id on the session's bus; undefined for an event that was never published. */
  readonly id?: number | undefined;
  readonly type: string;
  readonly data: unknown;
  readonly promptId?: string | undefined;
  readonly originatorClientId?: string | undefined;
  readonly atMs: number;
}

export interface JournalBounds {
  readonly maxEvents: number;
  readonly maxBytes: number;
}

interface Entry {
  readonly run: TextRun<PastEvent>;
  bytes: number;
  events: number;
}

/** Share of the bounds that is freed at once, so that a full journal does not move all its entries for each new event. */
const DROPPED_SHARE = 1 / 16;

export class Journal {
  readonly #bounds: JournalBounds;
  #entries: Entry[] = [];
  #bytes = 0;
  #droppedEvents = 0;

  constructor(bounds: JournalBounds) {
    this.#bounds = bounds;
  }

  get droppedEvents(): number {
    return this.#droppedEvents;
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** Appends the event. @param bytes length of the event as JSON, which counts towards `maxBytes`. */
  add(event: PastEvent, bytes: number): void {
    const last = this.#entries.at(-1);
    if (last?.run.add(event) === true) {
      const added = textLength(event);
      last.bytes += added;
      last.events += 1;
      this.#bytes += added;
    } else {
      this.#entries.push({ run: new TextRun(event), bytes, events: 1 });
      this.#bytes += bytes;
    }
    if (this.#entries.length > this.#bounds.maxEvents || this.#bytes > this.#bounds.maxBytes)
      this.#makeRoom();
  }

  /** The events, with the chunks of each text merged into one. */
  events(): PastEvent[] {
    return this.#entries.map(({ run }) => run.merged());
  }

  /** Removes and returns all events of the journal, with the number that its bounds have made it drop since the last call. */
  take(): { readonly events: PastEvent[]; readonly droppedEvents: number } {
    const taken = { events: this.events(), droppedEvents: this.#droppedEvents };
    this.#entries = [];
    this.#bytes = 0;
    this.#droppedEvents = 0;
    return taken;
  }

  #makeRoom(): void {
    const { maxEvents, maxBytes } = this.#bounds;
    const events = maxEvents - Math.floor(maxEvents * DROPPED_SHARE);
    const bytes = maxBytes - Math.floor(maxBytes * DROPPED_SHARE);
    let count = 0;
    // The newest entry stays even if it alone is over the bound: it is the text that the agent is writing.
    while (
      count < this.#entries.length - 1 &&
      (this.#entries.length - count > events || this.#bytes > bytes)
    ) {
      const entry = this.#entries[count] as Entry;
      this.#bytes -= entry.bytes;
      this.#droppedEvents += entry.events;
      count += 1;
    }
    this.#entries.splice(0, count);
  }
}

function textLength({ data }: PastEvent): number {
  const { content } = updateOf(data) as { content?: { text?: unknown } };
  return typeof content?.text === 'string' ? content.text.length : 0;
}

/** Whether a replay in `summary` mode shows the event. It leaves out thoughts, and the updates of a tool that still works. */
export function isOfSummary({ type, data }: PastEvent): boolean {
  if (type !== 'session_update') return true;
  if (!isOfTranscript(type, data)) return false;
  const { sessionUpdate, status } = updateOf(data);
  if (sessionUpdate === 'agent_thought_chunk') return false;
  return sessionUpdate !== 'tool_call_update' || status === 'completed' || status === 'failed';
}
