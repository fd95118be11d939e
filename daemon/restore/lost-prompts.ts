// Settles the prompts of a restored session that an earlier daemon accepted and whose end the coordinator has not seen. An end
// that is in the session's transcript stands, and is reported to the coordinator only: ends are written to the transcript before
// any client or the coordinator gets them. Every other prompt is reported lost on the bus.
import type { Clock } from '../contract/clock.ts';
import type { FeedPrompt } from '../contract/feed.ts';
import { type PromptTerminal, terminalOf } from '../domain/prompt-terminal.ts';
import { isTerminal } from '../domain/transcript.ts';
import type { HistoryRecord } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import type { CoordinatorFeed } from '../sessions/coordinator-feed.ts';

const LOST = 'daemon_restarted';
const MESSAGE = 'The daemon was restarted before the prompt was settled; the prompt was not sent again';
/**
 * Code of an end in the transcript that no client got, because an orderly stop had ended the streams before: a prompt with such
 * an end is reported lost.
 */
const UNHEARD = 'daemon_shutdown';

/** The ends of prompts among the records of a transcript, in order. */
export function endsIn(records: readonly HistoryRecord[]): PromptTerminal[] {
  return records.filter(({ type }) => isTerminal(type)).flatMap((record) => terminalOf(record) ?? []);
}

export class LostPrompts {
  readonly #feed: CoordinatorFeed;
  readonly #clock: Clock;

  constructor(feed: CoordinatorFeed, clock: Clock) {
    this.#feed = feed;
    this.#clock = clock;
  }

  /**
   * Settles the prompts with these ids. The events of lost prompts are written to the transcript before they are reported on the
   * feed, so that the next daemon finds in the transcript what this daemon has reported.
   * @param ends the ends of prompts that the session's transcript has.
   */
  settle(session: Session, promptIds: readonly string[], ends: readonly PromptTerminal[]): void {
    const { sessionId, bus, past } = session;
    const endOf = new Map(ends.filter(({ code }) => code !== UNHEARD).map((end) => [end.promptId, end]));
    for (const promptId of promptIds) {
      if (endOf.has(promptId)) continue;
      const data = { sessionId, promptId, code: LOST, message: MESSAGE };
      bus.publish('turn_error', data, { promptId });
    }
    past.flush();
    for (const promptId of promptIds) {
      const end = endOf.get(promptId);
      const how = end === undefined ? reported(this.#clock.nowMs()) : outcomeOf(end);
      this.#feed.publish({ type: 'prompt', prompt: { promptId, sessionId, ...how } });
    }
  }
}

type LostPromptEnd = Omit<FeedPrompt, 'promptId' | 'sessionId'>;

function reported(atMs: number): LostPromptEnd {
  return { state: 'failed', atMs, outcome: LOST };
}

/** The end of a prompt as the feed reported it, or would have, when the turn ended. */
function outcomeOf({ terminal, stopReason, code, at: atMs }: PromptTerminal): LostPromptEnd {
  const isError = terminal === 'error' || terminal === 'interrupted';
  if (isError) return { state: 'failed', atMs, outcome: code ?? 'turn_error' };
  return { state: 'completed', atMs, ...(stopReason === undefined ? {} : { outcome: stopReason }) };
}
