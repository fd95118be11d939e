// What a client may say about a session: its display name and pull requests. Checked here, kept by the session.
import { type ApiError, fail } from '../contract/errors.ts';
import type { JsonObject } from '../contract/json-body.ts';
import { isRecord } from './records.ts';

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

/** @throws ApiError 400 `invalid_metadata` naming the field. */
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
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 1)
    throw invalid('pr.number', 'must be a whole number from 1');
  if (typeof url !== 'string' || url.length > MAX_URL_CHARS || !isHttpUrl(url))
    throw invalid('pr.url', `must be an http(s) address of at most ${MAX_URL_CHARS} characters`);
  return { number, url, ...(state === undefined ? {} : { state: parsePullRequestState(state) }) };
}

function parsePullRequestState(value: unknown): PullRequestState {
  const state = PULL_REQUEST_STATES.find((known) => known === value);
  if (state === undefined) throw invalid('pr.state', `must be one of: ${PULL_REQUEST_STATES.join(', ')}`);
  return state;
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

function invalid(field: string, rule: string): ApiError {
  return fail('invalid_metadata', `\`${field}\` ${rule}`, { field });
}

/** The list with `added` in it; one of the same number and address is replaced. */
export function withPullRequest(known: readonly PullRequest[], added: PullRequest): readonly PullRequest[] {
  return [...known.filter(({ number, url }) => number !== added.number || url !== added.url), added];
}
