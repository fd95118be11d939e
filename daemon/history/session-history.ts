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
  /** Whether some of the session's earlier events are missing, or unreadable, in the daemon's transcript. */
  #isPastCut = false;
  #onDegraded: () => void = () => undefined;

  /** @param begin opens the session's recording; undefined for a session without recording. */
  constructor(bounds: ReplayBounds, begin: ((onDegraded: () => void) => Recording) | undefined) {
    this.#recording = begin?.(() => this.#onDegraded());
    this.replay = new Replay({
      ...bounds,
      isRecorded: this.isRecorded,
      isTranscriptWhole: () => this.#isTranscriptWhole(),
    });
    this.#floor = this.#recording?.lastId ?? 0;
  }

  /** Event ids of the session's bus start above this: it is the highest id of the session's earlier events. */
  get idFloor(): number {
    return this.#floor;
  }

  /** Epoch ms of the first update of the agent's load replay that `seedUpdate` took; undefined when there was none. */
  get seededSinceMs(): number | undefined {
    return this.#seededSinceMs;
  }

  get isRecorded(): boolean {
    return this.#recording?.keepsEvents === true;
  }

  get isDegraded(): boolean {
    return this.isRecorded && this.#recording?.isDegraded === true;
  }

  /** Calls `listener` once: when a write of the recording fails, or at once when a write has failed already. */
  whenDegraded(listener: () => void): void {
    this.#onDegraded = listener;
    if (this.isDegraded) listener();
  }

  /** Adds a published event to the replay and to the recording. */
  note(event: PublishedEvent): void {
    this.#recording?.note(event);
    const { id, type, data, tail, tags, atMs } = event;
    const { promptId, originatorClientId } = tags;
    this.replay.note({ id, type, data, promptId, originatorClientId, atMs }, tail.length);
  }

  /** Writes the noted events to the transcript's file, see `Recording.flush`. */
  flush(): void {
    this.#recording?.flush();
  }

  /** Writes changed fields of the session to the recording. */
  change(change: StoredChange): void {
    this.#recording?.change(change);
  }

  /** Fills the replay from the daemon's transcript of the restored session, before the session's bus exists. */
  seedFrom({ records, droppedTurns, droppedEvents, isPartial }: StoredTranscript): void {
    this.#isPastCut ||= isPartial;
    this.replay.noteMissing({ turns: droppedTurns, events: droppedEvents }, false);
    for (const { recordId, ...event } of records) this.#seed({ ...event, id: Number(recordId) });
  }

  /** Adds one update of the agent's load replay to the replay, and to the transcript if the daemon records the session. */
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
   * Notes that the agent's load replay lacks earlier events.
   * @param hasUnseenPast whether the session has earlier events, and the load replay had none of them.
   */
  noteMissing(dropped: Dropped, hasUnseenPast: boolean): void {
    this.#isPastCut ||= hasUnseenPast || dropped.events > 0;
    this.replay.noteMissing(dropped, hasUnseenPast);
  }

  /** Flushes and closes the recording. Idempotent. */
  close(): void {
    this.#recording?.close();
  }

  /** Whether the transcript has all events of the session. A transcript that the agent keeps is taken to have them all. */
  #isTranscriptWhole(): boolean {
    if (this.#recording?.keepsEvents !== true) return this.#recording !== undefined;
    return this.#recording.isWhole && !this.#isPastCut;
  }

  #seed(event: PastEvent): void {
    this.#floor = Math.max(this.#floor, event.id ?? 0);
    // The size as JSON counts towards the journal's bound, which the events of a turn without an end may reach.
    this.replay.note(event, JSON.stringify(event.data).length);
  }
}
