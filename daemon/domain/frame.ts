// From an event to the bytes of its SSE frame. An event is serialised here once, whoever reads it.
import type { EventEnvelope } from '../contract/wire.ts';

/** What the publisher knows about an event besides its type and data. */
export interface EventTags {
  readonly promptId?: string | undefined;
  readonly originatorClientId?: string | undefined;
}

/** `: heartbeat`, the comment that keeps idle streams open. */
export const HEARTBEAT_COMMENT = Buffer.from(': heartbeat\n\n');

/**
 * The frame of a bus event, in two steps so that an unserialisable event consumes no id.
 * @returns a function from the event's id to its bytes, or undefined when `data` cannot be serialised.
 */
export function prepareFrame(
  type: string,
  data: unknown,
  tags: EventTags,
  timestampMs: number,
): ((id: number) => Buffer) | undefined {
  const tail = serialisedTail(type, data, tags, timestampMs);
  if (tail === undefined) return undefined;
  return (id) => Buffer.from(`id: ${id}\nevent: ${type}\ndata: {"id":${id},${tail}\n\n`);
}

/** The frame of a synthetic event: no id, neither as a line nor in the JSON. @throws never: `data` is ours. */
export function syntheticFrame(type: string, data: Record<string, unknown>, timestampMs: number): Buffer {
  const envelope: EventEnvelope = { v: 1, type, data, _meta: { serverTimestamp: timestampMs } };
  return Buffer.from(`event: ${type}\ndata: ${JSON.stringify(envelope)}\n\n`);
}

function serialisedTail(
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
