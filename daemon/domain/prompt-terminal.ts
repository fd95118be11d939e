// How a prompt's turn ended, in the form in which the answer to `POST /session/:id/load` reports it.
import { asRecord } from '../contract/json-record.ts';
import type { PastEvent } from './journal.ts';

export interface PromptTerminal {
  readonly v: 1;
  readonly promptId: string;
  readonly terminal: 'completed' | 'cancelled' | 'error' | 'interrupted';
  readonly stopReason?: string;
  readonly code?: string;
  /** Epoch ms. */
  readonly at: number;
}

/** Reads how a turn ended from its `turn_complete` or `turn_error` event; undefined when the event names no prompt. */
export function terminalOf({ type, data, promptId, atMs }: PastEvent): PromptTerminal | undefined {
  const { promptId: named, stopReason, code } = asRecord(data);
  const id = promptId ?? named;
  if (typeof id !== 'string') return undefined;
  const base = { v: 1 as const, promptId: id, at: atMs };
  if (type === 'turn_error')
    return {
      ...base,
      terminal: code === 'daemon_restarted' ? 'interrupted' : 'error',
      ...(typeof code === 'string' ? { code } : {}),
    };
  return {
    ...base,
    terminal: stopReason === 'cancelled' ? 'cancelled' : 'completed',
    ...(typeof stopReason === 'string' ? { stopReason } : {}),
  };
}
