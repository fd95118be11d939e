// Writes event rows for `why` that no other write brings with it: refusals, held workspaces, adoptions. An event that cannot be
// written is logged and never stops the caller.
import type { Clock } from '../../../daemon/contract/clock.ts';
import { ApiError } from '../../../daemon/contract/errors.ts';
import { type Log, truncated } from '../../../daemon/contract/log.ts';
import type { NewEvent, Store } from '../../store/store.ts';

export interface EventJournal {
  /** Writes an event row. Never throws: a failure is logged. */
  note(event: NewEvent): void;
  /** Counts a refusal that a client got for this workspace, if `error` is a 503, 504 or 507. Never throws. */
  refused(workspaceId: string, error: unknown): void;
  /** Runs `work` and returns its result. When `work` throws, counts the error as `refused` does and throws it again. */
  counting<T>(workspaceId: string, work: () => T): T;
  /** Writes the counts of refusals whose `WINDOW_MS` is over; with `all` every count, for the coordinator's end. */
  flush(all?: boolean): void;
}

export interface EventJournalDeps {
  readonly store: Pick<Store, 'events'>;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Refusals of one workspace with one code within this time become two event rows: the first refusal at once, all others together
 * when the time is over.
 */
const WINDOW_MS = 60_000;
const REFUSALS: ReadonlySet<number> = new Set([503, 504, 507]);
const MAX_MESSAGE_CHARS = 500;

/** The refusals of one workspace with one code that came after the first, within its `WINDOW_MS`. */
interface Window {
  readonly workspaceId: string;
  readonly openedAtMs: number;
  count: number;
  firstAtMs: number;
  lastAtMs: number;
  last: ApiError;
}

export function createEventJournal(deps: EventJournalDeps): EventJournal {
  return new StoredEventJournal(deps);
}

class StoredEventJournal implements EventJournal {
  readonly #deps: EventJournalDeps;
  readonly #windows = new Map<string, Window>();

  constructor(deps: EventJournalDeps) {
    this.#deps = deps;
  }

  note(event: NewEvent): void {
    try {
      this.#deps.store.events.append(event);
    } catch (error) {
      this.#deps.log.warn({ err: error, event: event.kind }, 'an event could not be recorded');
    }
  }

  refused(workspaceId: string, error: unknown): void {
    if (!(error instanceof ApiError) || !REFUSALS.has(error.status)) return;
    const nowMs = this.#deps.clock.nowMs();
    const key = `${workspaceId}\0${error.code}`;
    const known = this.#windows.get(key);
    if (known !== undefined && nowMs - known.openedAtMs < WINDOW_MS) {
      if (known.count === 0) known.firstAtMs = nowMs;
      known.count += 1;
      known.lastAtMs = nowMs;
      known.last = error;
      return;
    }
    if (known !== undefined) this.#write(known);
    const opened = {
      workspaceId,
      openedAtMs: nowMs,
      count: 0,
      firstAtMs: nowMs,
      lastAtMs: nowMs,
      last: error,
    };
    this.#windows.set(key, opened);
    this.#write({ ...opened, count: 1 });
  }

  counting<T>(workspaceId: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.refused(workspaceId, error);
      throw error;
    }
  }

  flush(all = false): void {
    const nowMs = this.#deps.clock.nowMs();
    for (const [key, window] of this.#windows) {
      if (!all && nowMs - window.openedAtMs < WINDOW_MS) continue;
      this.#windows.delete(key);
      this.#write(window);
    }
  }

  #write({ workspaceId, count, firstAtMs, lastAtMs, last }: Window): void {
    if (count === 0) return;
    const { status, code, message, retryAfterS } = last;
    this.note({
      kind: 'request_refused',
      workspaceId,
      detail: {
        status,
        code: code ?? null,
        message: truncated(message, MAX_MESSAGE_CHARS),
        count,
        firstAtMs,
        lastAtMs,
        retryAfterS: retryAfterS ?? null,
      },
    });
  }
}
