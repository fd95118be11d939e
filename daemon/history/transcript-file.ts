// The format of a transcript's file: its name, its lines, and the search for its last statement. Every line is JSON. A line
// `{"meta":...}` is a statement of the session as a whole: the first line of a file is one, and the last one in the file is
// valid. A line `{"id":...}` is an event, with the same JSON as in its frame.
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { asRecord, isRecord } from '../contract/json-record.ts';
import { isUuid } from '../contract/wire.ts';
import type { HistoryRecord, StoredSession } from './history.ts';

const NEWLINE = 10;
const BLOCK_BYTES = 64 * 1024;
const SUFFIX = '.jsonl';

/** The content of a statement: facts of the session and of its transcript. */
export interface TranscriptMeta {
  readonly session: StoredSession;
  /** Highest event id of the session when the statement was written. */
  readonly lastId: number;
  /** What was dropped from the transcript's beginning to keep it within its bounds. */
  readonly dropped: { readonly turns: number; readonly events: number };
}

/** Name of the session's file. Agents choose session ids, so only a UUID becomes the name as it is; other ids are hashed. */
export function transcriptFileName(sessionId: string): string {
  if (isUuid(sessionId)) return `${sessionId.toLowerCase()}${SUFFIX}`;
  return `x-${createHash('sha256').update(sessionId).digest('hex').slice(0, 40)}${SUFFIX}`;
}

/** Whether a file in the directory of transcripts has the name of a transcript's file. */
export function isTranscriptFileName(name: string): boolean {
  return name.endsWith(SUFFIX);
}

/** The line for an event. @param tail JSON of the event's envelope without its opening brace and id. */
export function recordLine(id: number, tail: string): string {
  return `{"id":${id},${tail}\n`;
}

/** The line for a statement. */
export function metaLine({ session, lastId, dropped }: TranscriptMeta): string {
  return `${JSON.stringify({ meta: session, lastId, dropped })}\n`;
}

/** The content of a line: an event's record, a statement, or undefined when the line is unreadable. */
export type ParsedLine =
  | { readonly record: HistoryRecord; readonly id: number }
  | { readonly meta: TranscriptMeta }
  | undefined;

/** Parses one line. @param line without its newline. */
export function parseLine(line: string): ParsedLine {
  let raw: unknown;
  try {
    raw = JSON.parse(line);
  } catch {
    // A damaged line: the caller reports that the transcript is partial.
    return undefined;
  }
  if (!isRecord(raw)) return undefined;
  return isRecord(raw.meta) ? parseMeta(raw) : parseRecord(raw);
}

function parseMeta(raw: Readonly<Record<string, unknown>>): ParsedLine {
  const session = raw.meta as unknown as StoredSession;
  if (typeof session.sessionId !== 'string' || typeof session.createdAtMs !== 'number') return undefined;
  const { turns, events } = asRecord(raw.dropped);
  return {
    meta: {
      session: { ...session, isArchived: session.isArchived === true },
      lastId: wholeNumber(raw.lastId),
      dropped: { turns: wholeNumber(turns), events: wholeNumber(events) },
    },
  };
}

function parseRecord(raw: Readonly<Record<string, unknown>>): ParsedLine {
  const { id, type, data, promptId, originatorClientId } = raw;
  if (typeof id !== 'number' || typeof type !== 'string' || !isRecord(data)) return undefined;
  return {
    id,
    record: {
      recordId: String(id),
      atMs: wholeNumber(asRecord(raw._meta).serverTimestamp),
      type,
      data,
      ...(typeof promptId === 'string' ? { promptId } : {}),
      ...(typeof originatorClientId === 'string' ? { originatorClientId } : {}),
    },
  };
}

function wholeNumber(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : 0;
}

/** The line for a record in a compacted file, made anew because the record's text was merged. */
export function lineOfRecord({ recordId, atMs, ...event }: HistoryRecord): string {
  const envelope = { id: Number(recordId), v: 1, ...event, _meta: { serverTimestamp: atMs } };
  return `${JSON.stringify(envelope)}\n`;
}

export interface FileEnds {
  /** Bytes up to and including the last newline; a torn line may follow. */
  readonly wholeBytes: number;
  /** The last statement, with `lastId` and `isBlank` corrected by the events behind it; undefined without any statement. */
  readonly meta: TranscriptMeta | undefined;
  /** Whether the last line is a statement, as a cleanly closed file has it. */
  readonly isClosed: boolean;
}

/** Reads the file backward from its end to the last statement: one block if the file was closed cleanly. */
export function readEnds(fd: number, sizeBytes: number): FileEnds {
  let wholeBytes: number | undefined;
  let lastId = 0;
  let isLast = true;
  for (const { text, endsAt } of backwardLines(fd, sizeBytes)) {
    wholeBytes ??= endsAt;
    // Of the events only the newest one's id is needed, so only the newest event's line and statements are parsed.
    const parsed = lastId === 0 || text.startsWith('{"meta"') ? parseLine(text) : undefined;
    if (parsed !== undefined && 'meta' in parsed) {
      const { isBlank, ...facts } = parsed.meta.session;
      // If an event follows the statement, something was said, even if the statement says `isBlank`.
      const session = isBlank === undefined || lastId > 0 ? facts : { ...facts, isBlank };
      const meta = { ...parsed.meta, session, lastId: Math.max(parsed.meta.lastId, lastId) };
      return { wholeBytes, meta, isClosed: isLast };
    }
    if (parsed !== undefined) lastId = parsed.id;
    isLast = false;
  }
  return { wholeBytes: wholeBytes ?? 0, meta: undefined, isClosed: false };
}

/** The complete lines of the file, the last one first; `endsAt` is the offset behind a line's newline. */
function* backwardLines(fd: number, sizeBytes: number): Generator<{ text: string; endsAt: number }> {
  /** Bytes that were read and not yet yielded as lines. */
  let rest = Buffer.alloc(0);
  let start = sizeBytes;
  let isAfterNewline = false;
  let endsAt = 0;
  while (start > 0) {
    const length = Math.min(BLOCK_BYTES, start);
    start -= length;
    rest = Buffer.concat([readBlock(fd, start, length), rest]);
    for (let at = rest.lastIndexOf(NEWLINE); at >= 0; at = rest.lastIndexOf(NEWLINE)) {
      if (isAfterNewline) yield { text: rest.toString('utf8', at + 1), endsAt };
      isAfterNewline = true;
      endsAt = start + at + 1;
      rest = rest.subarray(0, at);
    }
  }
  if (isAfterNewline) yield { text: rest.toString('utf8'), endsAt };
}

function readBlock(fd: number, start: number, length: number): Buffer {
  const block = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const count = readSync(fd, block, filled, length - filled, start + filled);
    if (count === 0) break;
    filled += count;
  }
  return block.subarray(0, filled);
}
