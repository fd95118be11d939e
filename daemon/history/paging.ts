// Makes pages and turn indexes of a transcript that is not in memory: reads only the records that the answer shows.
import { PAGE_BOUNDS, PageFilling, type TranscriptPage } from '../domain/transcript-page.ts';
import type { TranscriptQuery } from '../domain/transcript-page-query.ts';
import type { TranscriptOutline, TranscriptRecord } from '../domain/transcript-view.ts';
import {
  AskedTurns,
  type TurnEntry,
  type TurnIndex,
  type TurnIndexQuery,
  turnEntryOf,
} from '../domain/turn-index.ts';

/** A transcript whose records are read only when they are asked for. */
export interface TranscriptSource {
  readonly outline: TranscriptOutline;
  /** The records from `from` up to but not `to`. */
  read(from: number, to: number): AsyncIterable<TranscriptRecord>;
  /** The records from `from` up to but not `to`, the last one first. */
  readBackward(from: number, to: number): AsyncIterable<TranscriptRecord>;
}

/** One page of the transcript, see `pageOf`. @throws as `pageOf`, and the system's error. */
export async function pageFrom(source: TranscriptSource, query: TranscriptQuery): Promise<TranscriptPage> {
  const filling = new PageFilling(source.outline, query, PAGE_BOUNDS);
  const { low, high } = filling;
  const candidates =
    filling.direction === 'forward' ? source.read(low, high) : source.readBackward(low, high);
  for await (const record of candidates) if (!filling.add(record)) break;
  return filling.page();
}

/** The turn index of the transcript, see `turnIndexOf`. @throws as `turnIndexOf`, and the system's error. */
export async function turnIndexFrom(source: TranscriptSource, query: TurnIndexQuery): Promise<TurnIndex> {
  const asked = new AskedTurns(source.outline, query);
  const entries: TurnEntry[] = [];
  for (const { from, to } of asked.questions) {
    const question: TranscriptRecord[] = [];
    for await (const record of source.read(from, to)) question.push(record);
    entries.push(turnEntryOf(question));
  }
  return asked.answer(entries);
}
