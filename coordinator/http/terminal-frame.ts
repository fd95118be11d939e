// The last frame of an event stream that the coordinator has to end itself.
import type { CutKind } from './relay.ts';

export interface StreamEndPolicy {
  /** Hint for the client, milliseconds. */
  readonly retryAfterMs: number;
  /** Whether the session can be taken up again under its id. */
  readonly isResumable: boolean;
}

const TOO_LARGE = 'The daemon sent an event that is too large to pass on; the stream was ended.';

/** The stock client shows `error` as it is and knows no error kinds of ours, so the text must stand alone. */
function words(kind: CutKind, isResumable: boolean): string {
  if (kind === 'frame_too_large') return TOO_LARGE;
  return isResumable
    ? 'The daemon of this workspace ended unexpectedly. The session is being restored: reconnect to continue.'
    : 'The daemon of this workspace ended unexpectedly. Its sessions are gone; create a new one to continue.';
}

/** The id-less `stream_error` of a session's event stream. */
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
