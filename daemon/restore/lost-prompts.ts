// Prompts that an earlier daemon admitted and that the coordinator has not seen end: each is settled here. One that had
// ended, or had been reported, before that daemon died has its end in the transcript, where it is written before anybody hears
// of it: that end stands, and only the coordinator is told. Every other one is reported.
import type { FeedPrompt } from '../contract/feed.ts';
import { type PromptTerminal, terminalOf } from '../domain/prompt-terminal.ts';
import { isTerminal } from '../domain/transcript.ts';
import type { HistoryRecord } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import type { SpawnContext } from '../sessions/create.ts';

const LOST = 'daemon_restarted';
const MESSAGE = 'The daemon was restarted before the prompt was settled; the prompt was not sent again';
/** An end that is for the next daemon to report: an orderly stop has ended the streams before it. */
const UNHEARD = 'daemon_shutdown';

/** Every end of a prompt that the transcript holds, in order. */
export function endsIn(records: readonly HistoryRecord[]): PromptTerminal[] {
  return records.filter(({ type }) => isTerminal(type)).flatMap((record) => terminalOf(record) ?? []);
}

/**
 * Settles the prompts. The reports are in the transcript before the coordinator is told, so that the next daemon finds there
 * what this one has reported.
 * @param ends what is known to have ended.
 */
export function settleLost(
  session: Session,
  promptIds: readonly string[],
  ends: readonly PromptTerminal[],
  { tell, clock }: Pick<SpawnContext, 'tell' | 'clock'>,
): void {
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
    const how = end === undefined ? reported(clock.nowMs()) : outcomeOf(end);
    tell({ type: 'prompt', prompt: { promptId, sessionId, ...how } });
  }
}

type Outcome = Omit<FeedPrompt, 'promptId' | 'sessionId'>;

function reported(atMs: number): Outcome {
  return { state: 'failed', atMs, outcome: LOST };
}

/** In the words in which the turn's own record would have told it. */
function outcomeOf({ terminal, stopReason, code, at: atMs }: PromptTerminal): Outcome {
  const isError = terminal === 'error' || terminal === 'interrupted';
  if (isError) return { state: 'failed', atMs, outcome: code ?? 'turn_error' };
  return { state: 'completed', atMs, ...(stopReason === undefined ? {} : { outcome: stopReason }) };
}
