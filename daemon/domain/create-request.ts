// The body of POST /session, checked field by field. The order of the checks decides which error a client sees.
import { type ApiError, fail } from '../contract/errors.ts';
import type { JsonObject } from '../contract/json-body.ts';
import { truncated } from '../contract/log.ts';
import { parseSessionSource, type SessionSource } from '../contract/session-source.ts';
import {
  APPROVAL_MODES,
  type ApprovalMode,
  isUuid,
  SESSION_SCOPES,
  type SessionScope,
} from '../contract/wire.ts';
import { type CheckoutRequest, parseCheckout } from './checkout-request.ts';

export interface CreateRequest {
  /** The scope that the body asks for, else `single`. Always `thread` when the body has a session id, a branch or a worktree. */
  readonly scope: SessionScope;
  /** The id that the client chose, in lower case; undefined when it chose none. */
  readonly sessionId: string | undefined;
  readonly checkout: CheckoutRequest | undefined;
  readonly modelId: string | undefined;
  readonly approvalMode: ApprovalMode | undefined;
  readonly source: SessionSource;
}

const DEFAULT_SCOPE: SessionScope = 'single';
/** Values of `sourceType` that clients may not use: they mark sessions that the reference server makes for itself. */
const RESERVED_SOURCE_TYPES = new Set(['standalone']);

/** Checks every field but `cwd`, which the route compares with the workspace. @throws ApiError 400 */
export function parseCreateRequest(body: JsonObject): CreateRequest {
  const scope = parseScope(body.sessionScope);
  const sessionId = parseSessionId(body.sessionId);
  const checkout = parseCheckout(body);
  return {
    scope: sessionId === undefined && checkout === undefined ? scope : 'thread',
    sessionId,
    checkout,
    modelId:
      typeof body.modelServiceId === 'string' && body.modelServiceId !== '' ? body.modelServiceId : undefined,
    approvalMode: parseApprovalMode(body.approvalMode),
    source: parseSource(body),
  };
}

function parseScope(value: unknown): SessionScope {
  if (value === undefined || value === null) return DEFAULT_SCOPE;
  const scope = SESSION_SCOPES.find((candidate) => candidate === value);
  if (scope !== undefined) return scope;
  throw fail('invalid_session_scope', `\`sessionScope\` must be one of: ${SESSION_SCOPES.join(', ')}`);
}

function parseSessionId(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string' || !isUuid(value))
    throw fail('invalid_session_id', '`sessionId` must be an RFC 4122 UUID of version 1 to 5');
  return value.toLowerCase();
}

function parseApprovalMode(value: unknown): ApprovalMode | undefined {
  if (value === undefined || value === null) return undefined;
  const mode = APPROVAL_MODES.find((candidate) => candidate === value);
  if (mode !== undefined) return mode;
  throw fail('invalid_approval_mode', `\`approvalMode\` must be one of: ${APPROVAL_MODES.join(', ')}`, {
    allowed: APPROVAL_MODES,
  });
}

function parseSource({ sourceType, sourceId }: JsonObject): SessionSource {
  const source = parseSessionSource({ sourceType, sourceId });
  if (source.sourceType !== undefined && RESERVED_SOURCE_TYPES.has(source.sourceType))
    throw fail('invalid_session_source', `\`sourceType\` "${source.sourceType}" is reserved`);
  return source;
}

/** The error for a `cwd` outside the daemon's workspace. The requested path is cut, because error body and log repeat it. */
export function workspaceMismatch(boundWorkspace: string, requested: string): ApiError {
  const requestedWorkspace = truncated(requested);
  return fail('workspace_mismatch', `This daemon serves ${boundWorkspace}, not ${requestedWorkspace}`, {
    boundWorkspace,
    requestedWorkspace,
  });
}
