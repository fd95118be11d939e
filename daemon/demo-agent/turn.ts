// What the demo agent does with a prompt. Words in the prompt choose the steps (think, plan, edit) and the pace (slow).
import type {
  PermissionOption,
  RequestPermissionOutcome,
  SessionUpdate,
  StopReason,
  ToolCallUpdate,
} from '@agentclientprotocol/sdk';
import type { DemoSession } from './session.ts';

export interface TurnIo {
  /** Sends an update to the client that gave the prompt. */
  send(update: SessionUpdate): Promise<void>;
  /** Appends an update to the session's transcript, from which `session/load` sends it again. */
  record(update: SessionUpdate): void;
  /** Asks the client for permission. @returns the client's answer. */
  ask(toolCall: ToolCallUpdate, options: PermissionOption[]): Promise<RequestPermissionOutcome>;
  /** Pause between words when the prompt contains "slow"; the words of any other answer are at most FAST_WORD_MS apart. */
  readonly delayMs: number;
  readonly signal: AbortSignal;
}

const FAST_WORD_MS = 15;
const QUOTED_CHARS = 200;

const PERMISSION_OPTIONS: PermissionOption[] = [
  { optionId: 'allow_once', name: 'Allow once', kind: 'allow_once' },
  { optionId: 'allow_always', name: 'Always allow edits in this session', kind: 'allow_always' },
  { optionId: 'reject_once', name: 'Reject', kind: 'reject_once' },
];

/** Runs one turn. Returns `cancelled` as soon as `io.signal` is aborted, also while a permission question is open. */
export async function runTurn(prompt: string, session: DemoSession, io: TurnIo): Promise<StopReason> {
  try {
    if (asksFor(prompt, 'think')) await sendAndRecord(io, think());
    if (asksFor(prompt, 'plan')) await sendAndRecord(io, plan());
    const report = asksFor(prompt, 'edit') ? await edit(session, io) : '';
    await say(`${greeting(prompt, session)}${report}`, asksFor(prompt, 'slow'), io);
    return 'end_turn';
  } catch (error) {
    if (io.signal.aborted) return 'cancelled';
    throw error;
  }
}

function asksFor(prompt: string, word: string): boolean {
  return new RegExp(`\\b${word}\\b`, 'i').test(prompt);
}

function greeting(prompt: string, session: DemoSession): string {
  const quoted = prompt.length > QUOTED_CHARS ? `${prompt.slice(0, QUOTED_CHARS)}…` : prompt;
  return `Hello from the demo agent! I work in ${session.cwd} and you said: "${quoted}". Say slow, think, plan or edit to see more.`;
}

function think(): SessionUpdate {
  return {
    sessionUpdate: 'agent_thought_chunk',
    content: { type: 'text', text: 'A prompt for the demo agent: it wants to see a thought.' },
  };
}

function plan(): SessionUpdate {
  return {
    sessionUpdate: 'plan',
    entries: [
      { content: 'Read the prompt', priority: 'high', status: 'completed' },
      { content: 'Answer it', priority: 'medium', status: 'in_progress' },
    ],
  };
}

/** Reports an edit of demo.txt that it does not make. @returns a sentence that says whether the edit was allowed. */
async function edit(session: DemoSession, io: TurnIo): Promise<string> {
  const toolCallId = `edit-${crypto.randomUUID()}`;
  const path = `${session.cwd}/demo.txt`;
  const call = {
    toolCallId,
    title: 'Edit demo.txt',
    kind: 'edit' as const,
    locations: [{ path }],
    content: [{ type: 'diff' as const, path, oldText: 'before', newText: 'after' }],
  };
  await sendAndRecord(io, { sessionUpdate: 'tool_call', status: 'pending', ...call });
  const decision = await decide(session, io, { status: 'pending', ...call });
  const isAllowed = decision.startsWith('allow');
  await sendAndRecord(io, {
    sessionUpdate: 'tool_call_update',
    toolCallId,
    status: isAllowed ? 'completed' : 'failed',
  });
  return ` The edit of demo.txt was decided: ${decision}. (I only pretend: no file was touched.)`;
}

async function decide(session: DemoSession, io: TurnIo, call: ToolCallUpdate): Promise<string> {
  if (session.modeId === 'plan') return 'reject (plan mode)';
  if (session.modeId !== 'default') return `allow (${session.modeId} mode)`;
  if (session.editsAllowed) return 'allow (always, as you said before)';
  const outcome = await abortable(io.ask(call, PERMISSION_OPTIONS), io.signal);
  if (outcome.outcome === 'cancelled') return 'cancelled';
  session.editsAllowed = outcome.optionId === 'allow_always';
  return outcome.optionId;
}

async function say(text: string, isSlow: boolean, io: TurnIo): Promise<void> {
  const delayMs = isSlow ? io.delayMs : Math.min(FAST_WORD_MS, io.delayMs);
  let said = '';
  try {
    for (const word of text.split(/(?<= )/)) {
      await abortable(new Promise((resolve) => setTimeout(resolve, delayMs)), io.signal);
      said += word;
      await io.send(message(word));
    }
  } finally {
    // The transcript gets one line for the whole answer, not one per word; of a cancelled answer, the words that were sent.
    if (said !== '') io.record(message(said));
  }
}

function message(text: string): SessionUpdate {
  return { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text } };
}

async function sendAndRecord(io: TurnIo, update: SessionUpdate): Promise<void> {
  io.signal.throwIfAborted();
  io.record(update);
  await io.send(update);
}

/** Settles as `promise`, or rejects as soon as the turn is cancelled. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = () => reject(signal.reason);
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', cancel));
  });
}
