// The bodies of `POST /session/:id/load` and `/resume`, checked field by field.
import { fail } from '../contract/errors.ts';
import type { JsonObject } from '../contract/json-body.ts';
import type { SessionSource } from '../contract/session-source.ts';
import type { ApprovalMode } from '../contract/wire.ts';
import { parseCreateRequest } from './create-request.ts';
import type { ReplayMode, ReplayQuery } from './replay.ts';

const MAX_PAGE = 500;

/** Checks the fields that load and resume share, except `cwd`, which the route checks. @throws ApiError 400 */
export function parseRestoreBody(body: JsonObject): {
  readonly approvalMode: ApprovalMode | undefined;
  readonly source: SessionSource;
} {
  const { sourceType, sourceId } = body;
  const { approvalMode, source } = parseCreateRequest({
    approvalMode: body.approvalMode,
    sourceType,
    sourceId,
  });
  return { approvalMode, source };
}

/** How many earlier events a load asks for, and whether in `full` or `summary` mode. @throws ApiError 400 */
export function parseReplayQuery(body: JsonObject): ReplayQuery {
  return {
    pageSize: parsePageSize(body.historyPageSize),
    journalMode: parseMode('liveReplayMode', body.liveReplayMode),
    compactedMode: parseMode('compactedReplayMode', body.compactedReplayMode),
  };
}

function parsePageSize(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1 && value <= MAX_PAGE)
    return value;
  throw fail('invalid_transcript_limit', `\`historyPageSize\` must be a whole number from 1 to ${MAX_PAGE}`, {
    maxLimit: MAX_PAGE,
  });
}

function parseMode(field: string, value: unknown): ReplayMode {
  if (value === undefined || value === null || value === 'full') return 'full';
  if (value === 'summary') return 'summary';
  throw fail('invalid_live_replay_mode', `\`${field}\` must be "full" or "summary"`, {
    allowed: ['full', 'summary'],
  });
}
