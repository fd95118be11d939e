// A history store that keeps nothing, for parts that need a store and tests that do not.
import { DEFAULT_LIMITS } from '../../daemon/contract/limits.ts';
import type { History, Recording } from '../../daemon/history/history.ts';
import { TranscriptOwnership } from '../../daemon/history/transcript-ownership.ts';
import { SILENT } from './session-parts.ts';

const RECORDING: Recording = {
  keepsEvents: true,
  lastId: 0,
  isDegraded: false,
  isWhole: true,
  note: () => undefined,
  flush: () => undefined,
  change: () => undefined,
  close: () => undefined,
};

const NO_HISTORY: History = {
  begin: ({ isKeptByAgent }) => ({ ...RECORDING, keepsEvents: isKeptByAgent !== true }),
  state: () => undefined,
  list: () => [],
  find: () => undefined,
  read: async () => undefined,
  using: async () => undefined,
  setArchived: () => false,
  remove: () => false,
};

/** Owns transcripts of which nothing is kept. */
export function noTranscripts(): TranscriptOwnership {
  return new TranscriptOwnership(NO_HISTORY, DEFAULT_LIMITS, SILENT);
}
