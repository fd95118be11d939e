// Reads a transcript that the agent keeps itself, page by page, with the agent's extension method for it.
import { AgentCallError, type AgentChannel, type Params } from '../agent/agent.ts';
import { callIfKnown } from '../agent/extensions.ts';
import { asRecord, isRecord, type JsonRecord, recordsIn } from '../contract/json-record.ts';
import { RECORD_ID_KEY, updateOf } from '../domain/transcript.ts';
import type { HistoryRecord } from './history.ts';

export const TRANSCRIPT_METHOD = 'qwen/status/session/transcript';

const PAGE_SIZE = 500;

/** A whole transcript as the agent that keeps it returned it. */
export interface AgentTranscript {
  readonly records: readonly HistoryRecord[];
  /** Whether some page could not be read, or the transcript has more than `maxRecords`. */
  readonly isPartial: boolean;
}

/**
 * Reads the session's whole transcript, live or not.
 * @param session `cwd` is given when the session does not work in the workspace itself.
 * @param options `maxRecords`: after this many records the reading stops, and the transcript is partial.
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
  /** Undefined on the transcript's last page. */
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
    // The cursor of an empty page is ignored: following it could go on for ever.
    const hasMore = typeof nextCursor === 'string' && found.length > 0;
    return { events: found, isPartial: partial === true, nextCursor: hasMore ? nextCursor : undefined };
  } catch (error) {
    if (error instanceof AgentCallError) return undefined;
    throw error;
  }
}

/** Makes a record of an event of the agent's page. A bare update is wrapped as on the bus: `{ sessionId, update }`. */
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
