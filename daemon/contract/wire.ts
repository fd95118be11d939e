// Names of headers, values of fields and forms of ids in the HTTP API, for both processes and their tests. The API itself is
// described in docs/api.md.

export const CLIENT_ID_HEADER = 'x-qwen-client-id';
export const EPOCH_HEADER = 'x-qwen-event-epoch';
export const STREAM_ID_HEADER = 'x-qwen-sse-stream-id';
/** Header that selects the workspace of a request whose path names none; percent-encoded like a path segment. */
export const WORKSPACE_HEADER = 'x-qwen-workspace';

/** Values of `sessionScope` in a create body. */
export const SESSION_SCOPES = ['single', 'thread'] as const;
export type SessionScope = (typeof SESSION_SCOPES)[number];

export const APPROVAL_MODES = ['plan', 'default', 'auto-edit', 'auto', 'yolo'] as const;
export type ApprovalMode = (typeof APPROVAL_MODES)[number];

export const PERMISSION_POLICIES = ['first-responder', 'designated', 'consensus', 'local-only'] as const;
export type PermissionPolicy = (typeof PERMISSION_POLICIES)[number];
export const DEFAULT_PERMISSION_POLICY = 'first-responder' satisfies PermissionPolicy;

/**
 * Where a client is: on this machine or elsewhere. The `local-only` policy takes votes from `loopback` clients only; some
 * routes need a token from `remote` clients.
 */
export type Peer = 'loopback' | 'remote';

/** The JSON of an event of a session's bus. `id` is absent in synthetic frames, whose events are on no bus. */
export interface EventEnvelope {
  readonly id?: number;
  readonly v: 1;
  readonly type: string;
  readonly data: unknown;
  readonly promptId?: string;
  readonly originatorClientId?: string;
  readonly _meta: { readonly serverTimestamp: number };
}

const CLIENT_ID_PATTERN = /^[A-Za-z0-9._:-]{1,128}$/;

/** Whether the value of a client id header is well-formed. */
export function isClientId(value: string): boolean {
  return CLIENT_ID_PATTERN.test(value);
}

const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

/** Whether `value` is an RFC 4122 UUID of version 1 to 5. */
export function isUuid(value: string): boolean {
  return UUID_PATTERN.test(value);
}

/** The form in which a session id is looked up: a UUID in lower case, any other id as it is. */
export function sessionKey(id: string): string {
  return isUuid(id) ? id.toLowerCase() : id;
}

const REQUEST_ID_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;

/** The request id that a client's header gives; undefined when the header is absent or has no acceptable form. */
export function acceptedRequestId(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' && REQUEST_ID_PATTERN.test(value) ? value : undefined;
}
