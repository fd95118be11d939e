// The error table: every code that a client can read, with its status and retry hint.
// Throw `fail(code, ...)`; only `envelope.ts` turns the error into a response.

interface ErrorSpec {
  readonly status: number;
  /**
   * Seconds for the Retry-After header; absent where waiting alone does not help, or only the caller of `fail` knows how long.
   */
  readonly retryAfterS?: number;
}

/** Every error code in the HTTP answers that clients get, with its status, which is the same on every route. */
export const ERRORS = {
  invalid_client_id: { status: 400 },
  missing_client_id: { status: 400 },
  workspace_mismatch: { status: 400 },
  invalid_session_scope: { status: 400 },
  invalid_session_id: { status: 400 },
  invalid_session_source: { status: 400 },
  invalid_approval_mode: { status: 400 },
  invalid_metadata: { status: 400 },
  invalid_deadline_ms: { status: 400 },
  invalid_event_detail_mode: { status: 400 },
  channel_delivery_invalid: { status: 400 },
  invalid_max_queued: { status: 400 },
  invalid_option_id: { status: 400 },
  invalid_cursor: { status: 400 },
  invalid_archive_state: { status: 400 },
  invalid_live_replay_mode: { status: 400 },
  invalid_transcript_limit: { status: 400 },
  invalid_transcript_cursor: { status: 400 },
  invalid_turn_anchor: { status: 400 },
  invalid_export_format: { status: 400 },
  invalid_search_query: { status: 400 },
  invalid_search_max_results: { status: 400 },
  invalid_session_view: { status: 400 },
  invalid_session_group_filter: { status: 400 },
  invalid_parent_session_id: { status: 400 },
  invalid_parent_session_filter: { status: 400 },
  invalid_path: { status: 400 },
  invalid_display_name: { status: 400 },
  invalid_force_flag: { status: 400 },
  invalid_persist_flag: { status: 400 },
  invalid_plan_mode: { status: 400 },
  invalid_workspace_request: { status: 400 },
  invalid_request: { status: 400 },
  invalid_rewind_target: { status: 400 },
  branch_and_worktree_conflict: { status: 400 },
  invalid_branch: { status: 400 },
  branch_invalid_name: { status: 400 },
  branch_not_git_repo: { status: 400 },
  invalid_worktree: { status: 400 },
  worktree_invalid_slug: { status: 400 },
  worktree_not_git_repo: { status: 400 },
  token_required: { status: 401 },
  untrusted_workspace: { status: 403 },
  permission_forbidden: { status: 403 },
  trust_gate: { status: 403 },
  session_not_found: { status: 404 },
  session_closing: { status: 404 },
  session_id_conflict: { status: 409 },
  session_archived: { status: 409 },
  session_workspace_conflict: { status: 409 },
  restore_in_progress: { status: 409, retryAfterS: 5 },
  workspace_exists: { status: 409 },
  workspace_nested: { status: 409 },
  workspace_limit_reached: { status: 409 },
  workspace_busy: { status: 409 },
  session_busy: { status: 409 },
  branch_session_conflict: { status: 409 },
  branch_already_exists: { status: 409 },
  branch_dirty_tree: { status: 409 },
  worktree_missing: { status: 409 },
  transcript_snapshot_unavailable: { status: 409 },
  primary_workspace_removal_forbidden: { status: 409 },
  static_workspace_removal_forbidden: { status: 409 },
  transcript_too_large: { status: 413 },
  transcript_page_too_large: { status: 413 },
  rate_limit_exceeded: { status: 429 },
  subscriber_limit_exceeded: { status: 429, retryAfterS: 5 },
  ambiguous_session_owner: { status: 500 },
  cancel_sentinel_collision: { status: 500 },
  session_id_not_honored: { status: 500 },
  branch_init_failed: { status: 500 },
  branch_status_failed: { status: 500 },
  branch_checkout_failed: { status: 500 },
  worktree_init_failed: { status: 500 },
  worktree_create_failed: { status: 500 },
  not_implemented: { status: 501 },
  permission_policy_not_implemented: { status: 501 },
  acp_channel_unavailable: { status: 503, retryAfterS: 5 },
  session_limit_exceeded: { status: 503, retryAfterS: 5 },
  prompt_queue_full: { status: 503, retryAfterS: 5 },
  workspace_runtime_unavailable: { status: 503, retryAfterS: 1 },
  workspace_draining: { status: 503, retryAfterS: 5 },
  daemon_draining: { status: 503, retryAfterS: 5 },
  daemon_limit_exceeded: { status: 503, retryAfterS: 5 },
  init_timeout: { status: 504, retryAfterS: 5 },
  restore_timeout: { status: 504, retryAfterS: 5 },
  storage_unavailable: { status: 507, retryAfterS: 5 },
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERRORS;

/** The parts of an error that a client reads. */
export interface ApiErrorFacts {
  readonly status: number;
  /** A key of `ERRORS`, the number of a JSON-RPC error of the agent, or undefined where the protocol has no code. */
  readonly code: ErrorCode | number | undefined;
  readonly message: string;
  /** Extra top-level fields of the body; none by default. */
  readonly context?: Readonly<Record<string, unknown>> | undefined;
  /** Seconds for the Retry-After header; undefined: the answer has no such header. */
  readonly retryAfterS?: number | undefined;
}

/** An error that a client may read in full. Any other value that is thrown becomes a bare 500. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: ApiErrorFacts['code'];
  readonly context: Readonly<Record<string, unknown>>;
  readonly retryAfterS: number | undefined;

  constructor({ status, code, message, context = {}, retryAfterS }: ApiErrorFacts) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
    this.context = context;
    this.retryAfterS = retryAfterS;
  }
}

/** Makes, for the caller to throw, an error with a code of `ERRORS`. A given `retryAfterS` replaces the table's. */
export function fail(
  code: ErrorCode,
  message: string,
  context: Readonly<Record<string, unknown>> = {},
  retryAfterS?: number,
): ApiError {
  const spec: ErrorSpec = ERRORS[code];
  const { status } = spec;
  return new ApiError({ status, code, message, context, retryAfterS: retryAfterS ?? spec.retryAfterS });
}

/** Makes an error for which the protocol has no code (401, refused Host and Origin, plain 400s, votes on unknown questions). */
export function failPlain(
  status: number,
  message: string,
  context: Readonly<Record<string, unknown>> = {},
): ApiError {
  return new ApiError({ status, code: undefined, message, context });
}

/** The text of a thrown value: an error's message, else the value as a string. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
