// The history of one live session: the replay in memory, which a loading client is shown, and the recording of its transcript.

import type { Dropped } from '../domain/finished-turns.ts';
import { jsonOf, serialise } from '../domain/frame.ts';
import type { PastEvent } from '../domain/journal.ts';
import { Replay, type ReplayBounds } from '../domain/replay.ts';
import type { BusObserver, PublishedEvent } from '../events/bus.ts';
import type { Recording, StoredChange, StoredTranscript } from './history.ts';

export class SessionHistory implements BusObserver {
  readonly replay: Replay;
  readonly #recording: Recording | undefined;
  #floor = 0;
  #seededSinceMs: number | undefined;
  /** Some of the session's earlier events are missing in our transcript, or cannot be read in it. */
  #isPastCut = false;
  #onDegraded: () => void = () => undefined;

  /** @param begin opens the recording; undefined for a session without one. */
  constructor(bounds: ReplayBounds, begin: ((onDegraded: () => void) => Recording) | undefined) {
    this.#recording = begin?.(() => this.#onDegraded());
    this.replay = new Replay({
      ...bounds,
      isRecorded: this.isRecorded,
      isTranscriptWhole: () => this.#isTranscriptWhole(),
    });
    this.#floor = this.#recording?.lastId ?? 0;
  }

  /** Ids of the session's bus start above it: every id up to it belongs to earlier events. */
  get idFloor(): number {
    return this.#floor;
  }

  /** Time of the oldest update that was seeded from the agent's replay; undefined when none was. */
  get seededSinceMs(): number | undefined {
    return this.#seededSinceMs;
  }

  get isRecorded(): boolean {
    return this.#recording?.keepsEvents === true;
  }

  get isDegraded(): boolean {
    return this.isRecorded && this.#recording?.isDegraded === true;
  }

  /** `listener` is called once: when a write fails, or now when a write has failed already. */
  whenDegraded(listener: () => void): void {
    this.#onDegraded = listener;
    if (this.isDegraded) listener();
  }

  /** Takes a published event into the replay and the recording. */
  note(event: PublishedEvent): void {
    this.#recording?.note(event);
    const { id, type, data, tail, tags, atMs } = event;
    const { promptId, originatorClientId } = tags;
    this.replay.note({ id, type, data, promptId, originatorClientId, atMs }, tail.length);
  }

  /** Hands the recorded events to the operating system. */
  flush(): void {
    this.#recording?.flush();
  }

  /** Records what the session changes about itself. */
  change(change: StoredChange): void {
    this.#recording?.change(change);
  }

  /** Seeds the replay from our own transcript, before the session's bus exists. */
  seedFrom({ records, droppedTurns, droppedEvents, isPartial }: StoredTranscript): void {
    this.#isPastCut ||= isPartial;
    this.replay.noteMissing({ turns: droppedTurns, events: droppedEvents }, false);
    for (const { recordId, ...event } of records) this.#seed({ ...event, id: Number(recordId) });
  }

  /** Seeds the replay, and our transcript if we record the session, with an earlier update that the agent has replayed. */
  seedUpdate(data: Readonly<Record<string, unknown>>, atMs: number): void {
    this.#seededSinceMs ??= atMs;
    const id = this.#floor + 1;
    const json = jsonOf(data);
    if (json === undefined) return;
    const tail = serialise('session_update', json, {}, atMs);
    this.#recording?.note({ id, type: 'session_update', data, tail });
    this.#seed({ id, type: 'session_update', data, atMs });
  }

  /**
   * Notes that the agent has not replayed everything.
   * @param hasUnseenPast whether it has replayed nothing of what there is.
   */
  noteMissing(dropped: Dropped, hasUnseenPast: boolean): void {
    this.#isPastCut ||= hasUnseenPast || dropped.events > 0;
    this.replay.noteMissing(dropped, hasUnseenPast);
  }

  /** Flushes and closes the transcript. Idempotent. */
  close(): void {
    this.#recording?.close();
  }

  /** Whether everything of the session can be read in its transcript. An agent that keeps it is taken to keep everything. */
  #isTranscriptWhole(): boolean {
    if (this.#recording?.keepsEvents !== true) return this.#recording !== undefined;
    return this.#recording.isWhole && !this.#isPastCut;
  }

  #seed(event: PastEvent): void {
    this.#floor = Math.max(this.#floor, event.id ?? 0);
    // The size as JSON counts towards the bound of the journal, which earlier events without an end of turn may reach.
    this.replay.note(event, JSON.stringify(event.data).length);
  }
}
