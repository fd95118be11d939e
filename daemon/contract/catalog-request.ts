// The body of `POST /sessions/catalog`, which both processes answer: which workspaces, and which page of each listing.
import { MAX_REGISTERED_WORKSPACES } from './capabilities.ts';
import { ApiError, fail } from './errors.ts';
import type { JsonObject } from './json-body.ts';
import { asRecord, isRecord } from './json-record.ts';

/** One workspace whose session listing the request asks for. */
export interface CatalogMember {
  /** Id or path of the workspace, as the request has it. */
  readonly workspace: string;
  readonly cursor: string | undefined;
}

export interface CatalogRequest {
  readonly members: readonly CatalogMember[];
  readonly hasGroups: boolean;
  /** The query with which the listing route of the member's workspace returns the page that the request asks for. */
  readonly queryOf: (member: CatalogMember) => URLSearchParams;
}

/**
 * Checks the body.
 * @param all the workspaces for which `"workspaces": "all"` stands.
 * @throws ApiError 400 `invalid_request`.
 */
export function parseCatalogRequest(body: JsonObject, all: readonly string[]): CatalogRequest {
  const options = parseOptions(body.options);
  return {
    members: parseMembers(body.workspaces, all),
    hasGroups: body.includeGroups === true,
    queryOf: ({ cursor }) => new URLSearchParams({ ...options, ...(cursor === undefined ? {} : { cursor }) }),
  };
}

function parseMembers(workspaces: unknown, all: readonly string[]): readonly CatalogMember[] {
  if (workspaces === 'all') return all.map((workspace) => ({ workspace, cursor: undefined }));
  if (!Array.isArray(workspaces) || workspaces.length === 0 || workspaces.length > MAX_REGISTERED_WORKSPACES)
    throw fail(
      'invalid_request',
      `\`workspaces\` must be "all" or a list of 1 to ${MAX_REGISTERED_WORKSPACES}`,
    );
  return workspaces.map((member: unknown) => {
    const { workspace, cursor } = asRecord(member);
    if (typeof workspace !== 'string' || (cursor !== undefined && typeof cursor !== 'string'))
      throw fail('invalid_request', 'Each of `workspaces` needs a `workspace` and may have a `cursor`');
    return { workspace, cursor };
  });
}

function parseOptions(options: unknown): Record<string, string> {
  if (options === undefined) return {};
  if (!isRecord(options)) throw fail('invalid_request', '`options` must be an object when it is given');
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [key, String(value)]));
}

/** The entry of the answer for a workspace whose listing failed. @throws `error` itself when it is no ApiError. */
export function failedMember(workspace: string, error: unknown): object {
  if (!(error instanceof ApiError)) throw error;
  return { workspace, error: { code: error.code, message: error.message, status: error.status } };
}
