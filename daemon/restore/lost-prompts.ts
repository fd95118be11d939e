// Settles the prompts that an earlier daemon accepted and that the coordinator has not seen end. If such a prompt had ended, or
// had been reported lost, before that daemon died, its end is in the transcript, which is written before any client or the
// coordinator gets the end: that end stands, and goes to the coordinator only. Every other prompt is reported lost on the bus.
import type { Clock } from '../contract/clock.ts';
import type { FeedPrompt } from '../contract/feed.ts';
import { type PromptTerminal, terminalOf } from '../domain/prompt-terminal.ts';
import { isTerminal } from '../domain/transcript.ts';
import type { HistoryRecord } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import type { CoordinatorFeed } from '../sessions/coordinator-feed.ts';

const LOST = 'daemon_restarted';
const MESSAGE = 'The daemon was restarted before the prompt was settled; the prompt was not sent again';
/** Code of an end that no client got, because an orderly stop had ended the streams before it: the next daemon reports it. */
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
   * Settles the prompts of these ids. The reports are in the transcript before they are on the feed, so that the next daemon
   * finds there what this one has reported.
   * @param ends the known ends of prompts.
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

/** The end as the turn's own feed record would have reported it. */
function outcomeOf({ terminal, stopReason, code, at: atMs }: PromptTerminal): LostPromptEnd {
  const isError = terminal === 'error' || terminal === 'interrupted';
  if (isError) return { state: 'failed', atMs, outcome: code ?? 'turn_error' };
  return { state: 'completed', atMs, ...(stopReason === undefined ? {} : { outcome: stopReason }) };
}
