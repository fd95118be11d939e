// The table of prompts that a daemon admitted, each settled exactly once. The text of a prompt is not stored.
import type { FeedPrompt } from '../../daemon/contract/feed.ts';
import type { SessionState } from '../domain/session.ts';
import type { StoreDatabase } from './database.ts';
import type { EventTable } from './events.ts';
import type { PromptRow, Prompts } from './store.ts';

export interface PromptTable extends Prompts {
  /** As `failUnsettled`, in the transaction that the caller has open. */
  settleAll(sessionId: string, atMs: number, outcome: string): readonly string[];
}

/** The session of a prompt. */
interface Owner {
  readonly workspaceId: string;
  readonly incarnation: string;
  readonly state: SessionState;
  readonly endReason: string | null;
}

const COLUMNS = `prompt_id AS promptId, session_id AS sessionId, state, admitted_at_ms AS admittedAtMs,
  settled_at_ms AS settledAtMs, outcome`;

export function createPrompts(database: StoreDatabase, events: EventTable): PromptTable {
  const find = database.prepare<{ promptId: string }, PromptRow>(
    `SELECT ${COLUMNS} FROM prompts WHERE prompt_id = @promptId`,
  );
  const unsettled = database.prepare<{ sessionId: string }, PromptRow>(
    `SELECT ${COLUMNS} FROM prompts WHERE session_id = @sessionId AND settled_at_ms IS NULL
     ORDER BY admitted_at_ms, prompt_id`,
  );
  const findOwner = database.prepare<{ sessionId: string }, Owner>(
    `SELECT workspace_id AS workspaceId, incarnation, state, end_reason AS endReason
     FROM sessions WHERE session_id = @sessionId`,
  );
  // A record `queued` never changes a row: the row says `queued` already, or the prompt runs and an old record came again.
  const moveOn = database.prepare<Record<string, unknown>>(
    `INSERT INTO prompts (prompt_id, session_id, state, admitted_at_ms, settled_at_ms, outcome)
     VALUES (@promptId, @sessionId, @state, @atMs, @settledAtMs, @outcome)
     ON CONFLICT (prompt_id) DO UPDATE
       SET state = excluded.state, settled_at_ms = excluded.settled_at_ms, outcome = excluded.outcome
       WHERE prompts.settled_at_ms IS NULL AND prompts.state <> excluded.state AND excluded.state <> 'queued'`,
  );

  function store(prompt: FeedPrompt, owner: Owner | undefined): void {
    const { promptId, sessionId, state, atMs, outcome = null } = prompt;
    const settledAtMs = isSettled(prompt) ? atMs : null;
    if (moveOn.run({ promptId, sessionId, state, atMs, settledAtMs, outcome }).changes === 0) return;
    const ids = owner === undefined ? {} : { workspaceId: owner.workspaceId, incarnation: owner.incarnation };
    events.add({ kind: `prompt_${state}`, ...ids, sessionId, detail: { promptId, outcome } });
  }

  function settleAll(sessionId: string, atMs: number, outcome: string): readonly string[] {
    const owner = findOwner.get({ sessionId });
    const ids = unsettled.all({ sessionId }).map(({ promptId }) => promptId);
    for (const promptId of ids) store({ promptId, sessionId, state: 'failed', atMs, outcome }, owner);
    return ids;
  }

  return {
    record: (prompt) =>
      database.write(() => {
        const owner = findOwner.get({ sessionId: prompt.sessionId });
        // A prompt that is recorded after its session was closed is settled as failed: no later record would settle it.
        const isTooLate = owner?.state === 'closed' && !isSettled(prompt);
        const outcome = owner?.endReason ?? 'session_closed';
        store(isTooLate ? { ...prompt, state: 'failed', outcome } : prompt, owner);
      }),
    get: (promptId) => find.get({ promptId }),
    unsettled: (sessionId) => unsettled.all({ sessionId }),
    failUnsettled: (sessionId, atMs, outcome) => database.write(() => settleAll(sessionId, atMs, outcome)),
    settleAll,
  };
}

function isSettled({ state }: FeedPrompt): boolean {
  return state === 'completed' || state === 'failed';
}
