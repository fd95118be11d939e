// The metadata of a session that a client may set, its display name and pull requests: checks, and merges of pull request
// lists. The session keeps the values.
import { type ApiError, fail } from '../contract/errors.ts';
import type { JsonObject } from '../contract/json-body.ts';
import { isRecord, type JsonRecord } from '../contract/json-record.ts';

export interface PullRequest {
  readonly number: number;
  readonly url: string;
  readonly state?: PullRequestState;
}

const PULL_REQUEST_STATES = ['open', 'merged', 'closed'] as const;
export type PullRequestState = (typeof PULL_REQUEST_STATES)[number];

export interface MetadataPatch {
  readonly displayName?: string;
  readonly pr?: PullRequest;
}

const MAX_DISPLAY_NAME_UNITS = 256;
const MAX_URL_CHARS = 2048;

/** Parses the body of a metadata change. @throws ApiError 400 `invalid_metadata` naming the field. */
export function parseMetadataPatch({ displayName, pr }: JsonObject): MetadataPatch {
  return {
    ...(displayName === undefined ? {} : { displayName: parseDisplayName(displayName) }),
    ...(pr === undefined ? {} : { pr: parsePullRequest(pr) }),
  };
}

function parseDisplayName(value: unknown): string {
  if (typeof value !== 'string' || value.trim() === '' || /\p{Cc}/u.test(value))
    throw invalid('displayName', 'must be a non-blank string without control characters');
  return value.slice(0, MAX_DISPLAY_NAME_UNITS);
}

function parsePullRequest(value: unknown): PullRequest {
  if (!isRecord(value)) throw invalid('pr', 'must be an object');
  const { number, url, state } = value;
  if (!isNumber(number)) throw invalid('pr.number', 'must be a whole number from 1');
  if (!isAddress(url))
    throw invalid('pr.url', `must be an http(s) address of at most ${MAX_URL_CHARS} characters`);
  return { number, url, ...(state === undefined ? {} : { state: parsePullRequestState(state) }) };
}

function parsePullRequestState(value: unknown): PullRequestState {
  const state = PULL_REQUEST_STATES.find((known) => known === value);
  if (state === undefined) throw invalid('pr.state', `must be one of: ${PULL_REQUEST_STATES.join(', ')}`);
  return state;
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
}

function isAddress(value: unknown): value is string {
  if (typeof value !== 'string' || value.length > MAX_URL_CHARS || !URL.canParse(value)) return false;
  // `URL.canParse` ignores tabs and line ends, but clients would get them with the address.
  return !/\p{Cc}/u.test(value) && /^https?:$/.test(new URL(value).protocol);
}

function invalid(field: string, rule: string): ApiError {
  return fail('invalid_metadata', `\`${field}\` ${rule}`, { field });
}

/**
 * Adds the pull request that an agent reports to `known`, unless `known` has it already.
 * @returns undefined when the report has no valid number or address.
 */
export function withBoundPullRequest(
  known: readonly PullRequest[],
  { number, url }: JsonRecord,
): readonly PullRequest[] | undefined {
  if (!isNumber(number) || !isAddress(url)) return undefined;
  const isKnown = known.some((pr) => pr.number === number && pr.url === url);
  return isKnown ? known : [...known, { number, url }];
}

/** `known` with `added` at its end; a pull request of the same number and address is replaced. */
export function withPullRequest(known: readonly PullRequest[], added: PullRequest): readonly PullRequest[] {
  return [...known.filter(({ number, url }) => number !== added.number || url !== added.url), added];
}
