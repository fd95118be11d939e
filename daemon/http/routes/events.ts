// Handler of a session's event stream: checks the request, writes the response's headers, plans the replay, starts the stream.
import { randomUUID } from 'node:crypto';
import { fail } from '../../contract/errors.ts';
import { EPOCH_HEADER } from '../../contract/wire.ts';
import { parseCursor, planReplay } from '../../domain/cursor.ts';
import type { Session } from '../../session/session.ts';
import { type Call, type Handler, headerOf } from '../call.ts';
import { requestedSession } from '../caller.ts';
import { EventStream } from '../event-stream.ts';
import type { RouteContext } from '../route-context.ts';

/** Range of the query parameter `maxQueued`, in frames. */
const MIN_QUEUED = 16;
const MAX_QUEUED = 2048;

/** `GET /session/:id/events`. @throws ApiError 400 for a bad `maxQueued`, 404 for no live session, 429 for too many streams. */
export function events({
  sessions,
  limits,
  clock,
  streams,
}: Pick<RouteContext, 'sessions' | 'limits' | 'clock' | 'streams'>): Handler {
  return (call) => {
    const maxQueued = parseMaxQueued(call.query.get('maxQueued')) ?? limits.subscriberQueueFrames;
    const session = requestedSession(call, sessions);
    const limit = limits.maxSubscribersPerSession;
    if (session.bus.readerCount >= limit)
      throw fail('subscriber_limit_exceeded', `The session has too many event streams (limit ${limit})`, {
        limit,
      });
    writeHead(call, session);
    if (call.req.method === 'HEAD') {
      call.res.end();
      return 'streaming';
    }
    const stream: EventStream = new EventStream({
      res: call.res,
      bus: session.bus,
      clock,
      limits,
      maxQueued,
      replay: replayOf(call, session),
      snapshot: call.query.get('snapshot') === '1' ? () => snapshotOf(session) : undefined,
      onEnd: () => streams.delete(stream),
    });
    streams.add(stream, call.res);
    stream.start();
    return 'streaming';
  };
}

function writeHead({ req, res }: Call, { bus }: Session): void {
  // TCP keep-alive lets the kernel find a client that has vanished: heartbeat comments alone may wait in the socket's buffer.
  req.socket.setKeepAlive(true, 30_000);
  req.socket.setNoDelay(true);
  res.writeHead(200, {
    'Content-Type': 'text/event-stream',
    'Cache-Control': 'no-cache, no-transform',
    Connection: 'keep-alive',
    'X-Accel-Buffering': 'no',
    'X-Qwen-Event-Epoch': bus.epoch,
    'X-Qwen-SSE-Stream-Id': randomUUID(),
  });
  res.flushHeaders();
}

function replayOf({ req }: Call, { bus }: Session) {
  const cursor = parseCursor(headerOf(req, 'last-event-id'));
  if (cursor === undefined) return undefined;
  const { head, oldest } = bus.ring;
  const epoch = { given: headerOf(req, EPOCH_HEADER), current: bus.epoch };
  return { cursor, plan: planReplay({ head, oldest }, cursor, epoch) };
}

function snapshotOf(session: Session): Record<string, unknown> {
  return {
    sessionId: session.sessionId,
    ...session.settings.snapshot(),
    recordingDegraded: session.past.isDegraded,
  };
}

function parseMaxQueued(text: string | null): number | undefined {
  if (text === null) return undefined;
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= MIN_QUEUED && value <= MAX_QUEUED) return value;
  throw fail(
    'invalid_max_queued',
    `\`maxQueued\` must be a whole number from ${MIN_QUEUED} to ${MAX_QUEUED}`,
  );
}
