// Reads transcripts of an agent that keeps them itself, page by page through the agent's own method.
import { AgentCallError, type AgentChannel, type Params } from '../agent/agent.ts';
import { callIfKnown } from '../agent/extensions.ts';
import { asRecord, isRecord, type JsonRecord, recordsIn } from '../contract/json-record.ts';
import { RECORD_ID_KEY, updateOf } from '../domain/transcript.ts';
import type { HistoryRecord } from './history.ts';

export const TRANSCRIPT_METHOD = 'qwen/status/session/transcript';

const PAGE_SIZE = 500;

/** A whole transcript as its agent returns it. */
export interface AgentTranscript {
  readonly records: readonly HistoryRecord[];
  /** Some page could not be read, or the transcript is longer than was asked for. */
  readonly isPartial: boolean;
}

/**
 * Reads the session's whole transcript, live or not.
 * @param session `cwd` when the session does not work in the workspace itself.
 * @param options `maxRecords`: behind this many records the reading stops, and the transcript is partial.
 * @returns undefined when the agent has no such method or knows no such session.
 * @throws AgentGone, AgentTimeout
 */
export async function readAgentTranscript(
  channel: AgentChannel,
  session: { readonly sessionId: string; readonly cwd?: string },
  options: { readonly timeoutMs: number; readonly maxRecords: number },
): Promise<AgentTranscript | undefined> {
  const records: HistoryRecord[] = [];
  let cursor: string | undefined;
  let isPartial = false;
  do {
    const page = await readPage(channel, session, cursor, options.timeoutMs);
    if (page === undefined) return cursor === undefined ? undefined : { records, isPartial: true };
    for (const event of page.events) records.push(recordOf(event, session.sessionId, records.length));
    isPartial ||= page.isPartial;
    cursor = page.nextCursor;
  } while (cursor !== undefined && records.length < options.maxRecords);
  return { records, isPartial: isPartial || cursor !== undefined };
}

interface Page {
  readonly events: readonly JsonRecord[];
  readonly isPartial: boolean;
  /** Undefined at the end. */
  readonly nextCursor: string | undefined;
}

async function readPage(
  channel: AgentChannel,
  session: Params,
  cursor: string | undefined,
  timeoutMs: number,
): Promise<Page | undefined> {
  const params = { ...session, limit: PAGE_SIZE, ...(cursor === undefined ? {} : { cursor }) };
  try {
    const answer = await callIfKnown(channel, TRANSCRIPT_METHOD, params, timeoutMs);
    if (answer === undefined) return undefined;
    const { events, partial, nextCursor } = asRecord(answer);
    const found = recordsIn(events);
    // A cursor behind an empty page would be followed for ever.
    const hasMore = typeof nextCursor === 'string' && found.length > 0;
    return { events: found, isPartial: partial === true, nextCursor: hasMore ? nextCursor : undefined };
  } catch (error) {
    if (error instanceof AgentCallError) return undefined;
    throw error;
  }
}

/** The record of an event. Agents return updates bare; in records they are as they were on the bus. */
function recordOf(event: JsonRecord, sessionId: string, index: number): HistoryRecord {
  const type = typeof event.type === 'string' ? event.type : 'session_update';
  const data = asRecord(event.data);
  const isBare = type === 'session_update' && !isRecord(data.update);
  const recordId = asRecord(updateOf(data)._meta)[RECORD_ID_KEY];
  const { serverTimestamp } = asRecord(event._meta);
  return {
    recordId: typeof recordId === 'string' ? recordId : String(index + 1),
    atMs: typeof serverTimestamp === 'number' ? serverTimestamp : 0,
    type,
    data: isBare ? { sessionId, update: data } : data,
    ...(typeof event.promptId === 'string' ? { promptId: event.promptId } : {}),
    ...(typeof event.originatorClientId === 'string' ? { originatorClientId: event.originatorClientId } : {}),
  };
}
