// Decides where the event stream of a reader with a cursor (`Last-Event-ID`) begins: the protocol's table as a pure function.

export interface RingFacts {
  readonly head: number;
  readonly oldest: number;
}

export type ResyncReason = 'epoch_reset' | 'ring_evicted' | 'seeded_replay_not_in_ring';

export interface ReplayPlan {
  /** Replay starts after this id. */
  readonly from: number;
  /** The notice (an event without id) to send before the replay; absent when the replay continues the cursor without a gap. */
  readonly resync?: { readonly reason: ResyncReason; readonly detail?: 'epoch_mismatch' };
}

const EPOCH_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;

/** The cursor of a Last-Event-ID header; undefined (no replay) when absent or malformed. */
export function parseCursor(header: string | undefined): number | undefined {
  if (header === undefined || !/^\d{1,16}$/.test(header)) return undefined;
  const value = Number(header);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Plans the replay for a reader at `cursor`. `epoch.given` is the epoch of the reader's cursor; malformed counts as absent. */
export function planReplay(
  ring: RingFacts,
  cursor: number,
  epoch: { readonly given: string | undefined; readonly current: string },
): ReplayPlan {
  const isOtherEpoch =
    epoch.given !== undefined && EPOCH_PATTERN.test(epoch.given) && epoch.given !== epoch.current;
  const start = ring.oldest - 1;
  if (isOtherEpoch) return { from: start, resync: { reason: 'epoch_reset', detail: 'epoch_mismatch' } };
  if (cursor > ring.head) return { from: start, resync: { reason: 'epoch_reset' } };
  if (cursor === ring.head) return { from: cursor };
  if (ring.oldest > ring.head) return { from: ring.head, resync: { reason: 'seeded_replay_not_in_ring' } };
  if (ring.oldest > cursor + 1) return { from: start, resync: { reason: 'ring_evicted' } };
  return { from: cursor };
}
