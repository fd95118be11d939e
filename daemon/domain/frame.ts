// From an event to the bytes of its SSE frame. An event is serialised here once, whoever reads it.
import type { EventEnvelope } from '../contract/wire.ts';

/** What the publisher knows about an event besides its type and data. */
export interface EventTags {
  readonly promptId?: string | undefined;
  readonly originatorClientId?: string | undefined;
}

/** An event with the one JSON that is made of it, for its readers and for the transcript alike. */
export interface EncodedEvent {
  /** Id on the bus. Ids of a session only grow, over its restores too. */
  readonly id: number;
  readonly type: string;
  readonly data: unknown;
  /** What `serialise` made. */
  readonly tail: string;
}

/** `: heartbeat`, the comment that keeps idle streams open. */
export const HEARTBEAT_COMMENT = Buffer.from(': heartbeat\n\n');

/**
 * JSON of an event's envelope without its opening brace and id: the frame and the transcript put theirs in front. Apart
 * from the frame, so that an unserialisable event consumes no id.
 * @returns undefined when `data` cannot be serialised.
 */
export function serialise(
  type: string,
  data: unknown,
  tags: EventTags,
  timestampMs: number,
): string | undefined {
  let json: string | undefined;
  try {
    json = JSON.stringify(data);
  } catch {
    // A cycle or a BigInt: the event is dropped, the caller logs it.
    return undefined;
  }
  if (json === undefined) return undefined;
  const prompt = tags.promptId === undefined ? '' : `,"promptId":${JSON.stringify(tags.promptId)}`;
  const originator =
    tags.originatorClientId === undefined
      ? ''
      : `,"originatorClientId":${JSON.stringify(tags.originatorClientId)}`;
  return `"v":1,"type":${JSON.stringify(type)},"data":${json}${prompt}${originator},"_meta":{"serverTimestamp":${timestampMs}}}`;
}

/** The frame of the event whose envelope `serialise` made. */
export function frameOf(id: number, type: string, tail: string): Buffer {
  return Buffer.from(`id: ${id}\nevent: ${type}\ndata: {"id":${id},${tail}\n\n`);
}

/** The frame of a synthetic event: no id, neither as a line nor in the JSON. @throws never: `data` is ours. */
export function syntheticFrame(type: string, data: Record<string, unknown>, timestampMs: number): Buffer {
  const envelope: EventEnvelope = { v: 1, type, data, _meta: { serverTimestamp: timestampMs } };
  return Buffer.from(`event: ${type}\ndata: ${JSON.stringify(envelope)}\n\n`);
}
