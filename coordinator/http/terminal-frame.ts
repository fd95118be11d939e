// Makes the last frame of an event stream that was cut before the daemon ended it.
import type { CutKind } from './relay.ts';

export interface StreamEndPolicy {
  /** How long the client should wait before it reconnects. */
  readonly retryAfterMs: number;
  /** Whether the agent can load the session again, so that a client can reconnect to it. */
  readonly isResumable: boolean;
}

const TOO_LARGE = 'The daemon sent an event that is too large to pass on; the stream was ended.';

/** The frame's `error` text. The stock client shows the text as it is and knows no `errorKind`, so the text must stand alone. */
function words(kind: CutKind, isResumable: boolean): string {
  if (kind === 'frame_too_large') return TOO_LARGE;
  return isResumable
    ? 'The daemon of this workspace ended unexpectedly. The session is being restored: reconnect to continue.'
    : 'The daemon of this workspace ended unexpectedly. Its sessions are gone; create a new one to continue.';
}

/** The `stream_error` frame. It has no id, so that a client's cursor stays at the last event. */
export function streamErrorFrame(kind: CutKind, policy: StreamEndPolicy, nowMs: number): string {
  const data = {
    error: words(kind, policy.isResumable),
    errorKind: kind,
    retryAfterMs: policy.retryAfterMs,
    resumable: policy.isResumable,
  };
  const body = { v: 1, type: 'stream_error', data, _meta: { serverTimestamp: nowMs } };
  return `event: ${body.type}\ndata: ${JSON.stringify(body)}\n\n`;
}
