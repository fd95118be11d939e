// Makes the SSE frame of an event. Every event is serialised once, for all readers of its bus.
import type { EventEnvelope } from '../contract/wire.ts';

/** The prompt and the client that caused an event, where the publisher of the event knows them. */
export interface EventTags {
  readonly promptId?: string | undefined;
  readonly originatorClientId?: string | undefined;
}

/** An event with its JSON, which is made once for the bus's readers and for the transcript. */
export interface EncodedEvent {
  /** Id on the bus. Ids of a session only grow, over its restores too. */
  readonly id: number;
  readonly type: string;
  readonly data: unknown;
  /** The result of `serialise` for this event. */
  readonly tail: string;
}

/** The SSE comment `: heartbeat`, which keeps idle streams open. */
export const HEARTBEAT_COMMENT = Buffer.from(': heartbeat\n\n');

/** `data` as JSON, in one line. @returns undefined when it cannot be serialised. */
export function jsonOf(data: unknown): string | undefined {
  try {
    return JSON.stringify(data);
  } catch {
    // A cycle or a BigInt: the event is dropped, the caller logs it.
    return undefined;
  }
}

/**
 * JSON of an event's envelope without its opening brace and id, which `frameOf` and the transcript's file each put in front.
 * Made before the event gets its id, so that an event that cannot be serialised consumes none.
 * @param json the event's data: valid JSON without a line break.
 */
export function serialise(type: string, json: string, tags: EventTags, timestampMs: number): string {
  return headOf(type) + json + footOf(tags, timestampMs);
}

/** The newest envelope's text before its data, kept because most events are of the same type as the event before. */
const head = { type: '', text: '' };

function headOf(type: string): string {
  if (head.type !== type) {
    head.type = type;
    head.text = `"v":1,"type":${JSON.stringify(type)},"data":`;
  }
  return head.text;
}

/** The newest envelope's text behind its data, kept because events of one turn mostly share prompt, client and millisecond. */
const foot = { promptId: '' as string | undefined, clientId: '' as string | undefined, atMs: 0, text: '' };

function footOf({ promptId, originatorClientId: clientId }: EventTags, atMs: number): string {
  if (foot.atMs !== atMs || foot.promptId !== promptId || foot.clientId !== clientId) {
    const prompt = promptId === undefined ? '' : `,"promptId":${JSON.stringify(promptId)}`;
    const originator = clientId === undefined ? '' : `,"originatorClientId":${JSON.stringify(clientId)}`;
    Object.assign(foot, { promptId, clientId, atMs });
    foot.text = `${prompt}${originator},"_meta":{"serverTimestamp":${atMs}}}`;
  }
  return foot.text;
}

/** The frame, as text, of the event whose envelope `serialise` made. */
export function frameOf(id: number, type: string, tail: string): string {
  return `id: ${id}\nevent: ${type}\ndata: {"id":${id},${tail}\n\n`;
}

/** The frame of a synthetic event: no id, neither as a line nor in the JSON. Never throws: the daemon itself builds `data`. */
export function syntheticFrame(type: string, data: Record<string, unknown>, timestampMs: number): Buffer {
  const envelope: EventEnvelope = { v: 1, type, data, _meta: { serverTimestamp: timestampMs } };
  return Buffer.from(`event: ${type}\ndata: ${JSON.stringify(envelope)}\n\n`);
}
