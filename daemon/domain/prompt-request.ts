// Checks the body of `POST /session/:id/prompt`: the fields that the daemon uses, and those that go to the agent unchanged.
import { fail, failPlain } from '../contract/errors.ts';
import type { JsonObject } from '../contract/json-body.ts';
import { asRecord, isRecord } from '../contract/json-record.ts';

export interface PromptRequest {
  readonly content: readonly Record<string, unknown>[];
  readonly deadlineMs: number | undefined;
  /** Everything for the agent's `session/prompt` except `sessionId` and `prompt`. */
  readonly extras: Readonly<Record<string, unknown>>;
}

/** Most blocks of a prompt that are no text (the protocol's bound). */
const MAX_NON_TEXT_BLOCKS = 256;
/**
 * `_meta` keys whose values an agent trusts because only its daemon sets them: who calls, through which chat channel, and what
 * a person has typed or approved. They are removed from what a client sends.
 */
const PRIVATE_META =
  /^qwen\.(?:daemon|channel)\.|^qwen-code\/(?:private-|invocation)|^qwen\.(?:submittedPrompt|goalProposalApproval)$/;
/** Longest name of a chat channel in `delivery`, and longest id of a user or chat, in UTF-16 units (the protocol's bound). */
const MAX_DELIVERY_CHARS = 2048;
/** Fields of the body that are not copied into the agent's request: the daemon uses them itself. */
const OWN_FIELDS = new Set(['prompt', 'sessionId', 'deadlineMs', 'delivery', 'eventDetailMode', '_meta']);

/** Parses the body. @throws ApiError 400; for a malformed `prompt` field it has no code. */
export function parsePromptRequest(body: JsonObject): PromptRequest {
  const content = parseContent(body.prompt);
  checkDetailMode(body.eventDetailMode);
  checkDelivery(body.delivery);
  const extras = Object.fromEntries(Object.entries(body).filter(([key]) => !OWN_FIELDS.has(key)));
  const meta = publicMeta(body._meta);
  return {
    content,
    deadlineMs: parseDeadline(body.deadlineMs),
    extras: meta === undefined ? extras : { ...extras, _meta: meta },
  };
}

function parseContent(value: unknown): readonly Record<string, unknown>[] {
  if (!Array.isArray(value) || value.length === 0)
    throw failPlain(400, '`prompt` must be a non-empty array of content blocks');
  for (const block of value) {
    if (!isRecord(block)) throw failPlain(400, '`prompt` must contain only objects: ACP content blocks');
    if (typeof block.type !== 'string') throw failPlain(400, 'Each block of `prompt` needs a `type`');
    if (block.type === 'image') checkImage(block);
  }
  if (value.filter((block) => block.type !== 'text').length > MAX_NON_TEXT_BLOCKS)
    throw failPlain(400, `\`prompt\` contains more than ${MAX_NON_TEXT_BLOCKS} non-text blocks`);
  return value;
}

function checkImage(block: Record<string, unknown>): void {
  const isInline = typeof block.data === 'string' && typeof block.mimeType === 'string';
  if (!isInline) throw failPlain(400, 'An image block needs `data` (base64) and `mimeType`');
}

function parseDeadline(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value <= 0)
    throw fail('invalid_deadline_ms', '`deadlineMs` must be a positive whole number of milliseconds');
  return value;
}

function checkDetailMode(value: unknown): void {
  if (value === undefined || value === 'full' || value === 'summary') return;
  throw fail('invalid_event_detail_mode', '`eventDetailMode` must be "full" or "summary" when it is given');
}

/** A daemon has no chat channels and ignores `delivery`, but refuses a malformed one as a server with channels does. */
function checkDelivery(value: unknown): void {
  if (value === undefined) return;
  const { kind, target, ...others } = asRecord(value);
  const { channelName, type, id, ...more } = asRecord(target);
  const isTarget = isName(channelName) && isName(id) && (type === 'user' || type === 'chat');
  const hasOthers = Object.keys({ ...others, ...more }).length > 0;
  if (kind !== 'channel' || !isTarget || hasOthers)
    throw fail(
      'channel_delivery_invalid',
      '`delivery` must be {"kind":"channel","target":{"channelName":…,"type":"user" or "chat","id":…}}',
    );
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && value.trim() !== '' && value.length <= MAX_DELIVERY_CHARS;
}

function publicMeta(value: unknown): Record<string, unknown> | undefined {
  if (!isRecord(value)) return undefined;
  return Object.fromEntries(Object.entries(value).filter(([key]) => !PRIVATE_META.test(key)));
}

/**
 * The deadline of a turn; undefined: none. A request can only shorten the configured deadline; if none is configured
 * (`configuredMs` is 0), the request's deadline has no effect.
 */
export function effectiveDeadlineMs(
  configuredMs: number,
  requestedMs: number | undefined,
): number | undefined {
  if (configuredMs === 0) return undefined;
  return requestedMs === undefined ? configuredMs : Math.min(configuredMs, requestedMs);
}
