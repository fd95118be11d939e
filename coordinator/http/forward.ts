// Passes a client's request to its daemon and the daemon's answer back. The only file that knows the proxy library.
// The library builds the upstream request and aborts that request when the client leaves. The answer is relayed by relay.ts,
// because the library would end an answer that was cut off as if it were whole, or not at all.
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import httpProxy from 'http-proxy';
import type { Clock } from '../../daemon/contract/clock.ts';
import { FEED_SEQ_HEADER } from '../../daemon/contract/control.ts';
import { sendError } from '../../daemon/contract/envelope.ts';
import { fail } from '../../daemon/contract/errors.ts';
import type { Log } from '../../daemon/contract/log.ts';
import type { Relay } from '../domain/routing.ts';
import type { DaemonClient } from '../upstream/daemon-client.ts';
import type { DaemonConnections } from '../upstream/daemon-connections.ts';
import { proxyTarget } from '../upstream/dial.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import type { Caller } from '../upstream/trust-headers.ts';
import type { EventStreams } from './event-streams.ts';
import { upstreamHeaders } from './headers.ts';
import { readAcceptance, takeBackPrompt } from './prompt-rollback.ts';
import { drainBody, refuseBody } from './refuse-body.ts';
import { type EventRelaySpec, isEventStream, relayEvents, relayPlain, relayWhole } from './relay.ts';
import { type StreamEndPolicy, streamErrorFrame } from './terminal-frame.ts';
import { hasBody, UpstreamRequest } from './upstream-request.ts';

export interface ForwardSpec extends Caller {
  readonly endpoint: Endpoint;
  /** Raw path and query for the daemon. */
  readonly path: string;
  readonly relay: Relay;
  readonly bodyCapBytes: number;
}

export interface Forwarder {
  /**
   * Passes the request on to the daemon; every outcome, refusals included, is written to `res`. If the daemon cannot be reached,
   * or ends before it has answered, the outcome is 503 `workspace_runtime_unavailable`.
   * @throws ApiError 413 or 400 for a body that its headers alone make unacceptable; nothing has been written then.
   */
  forward(req: IncomingMessage, res: ServerResponse, spec: ForwardSpec): void;
}

export interface ForwardDeps {
  readonly connections: DaemonConnections;
  readonly client: DaemonClient;
  /** The register that has each relayed event stream while the stream is open. */
  readonly streams: Pick<EventStreams, 'add' | 'remove'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Bytes of an event stream that may wait for the rest of their frame; a longer frame cuts the stream. */
  readonly maxFrameBytes: number;
  /** `Fleet.stored`, with which the 202 to a prompt is kept back until the prompt is in the store. */
  readonly stored: (incarnation: string, seq: number) => Promise<boolean>;
  /** What the last frame of a workspace's event stream tells the client about coming back, when the stream is cut. */
  readonly streamEnd: (workspaceId: string) => StreamEndPolicy;
}

/** Longest frame that is relayed: the stock client gives up on a longer one. */
export const MAX_FRAME_BYTES = 16 * 1024 * 1024;

/** Longest wait for a daemon to remove a prompt that could not be stored. */
const TAKE_BACK_TIMEOUT_MS = 4000;

/**
 * State of one forwarded request. The library emits its events for all requests together; `passages` finds the request's state.
 */
interface Passage {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly spec: ForwardSpec;
  upstream: ClientRequest | undefined;
  /** Whether the headers of the daemon's answer have come; from then on relay.ts decides what a failure means. */
  isAnswered: boolean;
}

export function createForwarder(deps: ForwardDeps): Forwarder {
  const passages = new WeakMap<object, Passage>();
  const proxy = httpProxy.createProxyServer({ toProxy: true, selfHandleResponse: true });
  // The callback given to `proxy.web` answers the failure of its request; without this listener the library would throw as well.
  proxy.on('error', (error) => deps.log.debug({ err: error }, 'proxy error'));
  proxy.on('proxyReq', (upstream, view) => {
    const passage = passages.get(view);
    if (passage === undefined) return;
    passage.upstream = upstream;
    // The library drops the `?` of an empty query, but the path is to be passed on as it came.
    upstream.path = passage.spec.path;
  });
  proxy.on('proxyRes', (answer, view) => {
    const passage = passages.get(view);
    if (passage !== undefined) relay(deps, passage, answer);
  });
  return {
    forward(req, res, spec) {
      if (res.destroyed || res.closed) return;
      const passage: Passage = { req, res, spec, upstream: undefined, isAnswered: false };
      const view = new UpstreamRequest(req, {
        path: spec.path,
        headers: upstreamHeaders(req, spec.endpoint.secret, spec),
        bodyCapBytes: spec.bodyCapBytes,
        onOverCap: () => {
          passage.upstream?.destroy();
          refuseBody(req, res, spec.bodyCapBytes, deps.log);
        },
      });
      passages.set(view, passage);
      // A client that leaves in the middle of its body makes `req` fail. The library's hook on the response's close cleans up.
      req.on('error', (error) => deps.log.debug({ err: error, requestId: spec.requestId }, 'client aborted'));
      if (req.headers.expect !== undefined && hasBody(req)) res.writeContinue();
      const options = {
        target: proxyTarget(spec.endpoint.address),
        agent: deps.connections.poolFor(spec.endpoint),
        method: req.method ?? 'GET',
      };
      proxy.web(view as unknown as IncomingMessage, res, options, (error) =>
        unreachable(deps, passage, error),
      );
      view.feedFrom(req);
    },
  };
}

/** Relays the daemon's answer to the client: an event stream frame by frame, a prompt's 202 once the prompt is stored. */
function relay(deps: ForwardDeps, passage: Passage, answer: IncomingMessage): void {
  const { streams } = deps;
  const { res, spec } = passage;
  passage.isAnswered = true;
  // The client may have got a 413 for its body, or left, while the daemon was answering.
  if (res.headersSent || res.destroyed) {
    answer.on('error', (error) => deps.log.debug({ err: error }, 'late answer dropped'));
    answer.destroy();
    return;
  }
  if (spec.relay === 'plain' || !isEventStream(answer)) {
    const seq = Number(answer.headers[FEED_SEQ_HEADER]);
    if (Number.isSafeInteger(seq)) void relayStored(deps, passage, answer, seq);
    else relayPlain(answer, res);
    return;
  }
  const relaySpec: EventRelaySpec = {
    maxFrameBytes: deps.maxFrameBytes,
    terminalFrame: (kind) =>
      streamErrorFrame(kind, deps.streamEnd(spec.endpoint.workspaceId), deps.clock.nowMs()),
    onEnd: () => streams.remove(stream),
  };
  const stream = relayEvents(answer, res, relaySpec);
  streams.add(stream, spec.endpoint.workspaceId);
}

/**
 * Relays a prompt's 202 once the prompt is stored. Where the store refuses the prompt, the daemon takes it back and the client
 * gets the refusal. Where the store takes too long, the 202 is passed on as it is: the turn runs all the same, and the feed's
 * next snapshot reports the turn. If the daemon died meanwhile, no record of the prompt is left, so the client gets a 503.
 */
async function relayStored(
  deps: ForwardDeps,
  passage: Passage,
  answer: IncomingMessage,
  seq: number,
): Promise<void> {
  const { res, spec } = passage;
  const context = { requestId: spec.requestId, incarnation: spec.endpoint.incarnation };
  answer.on('error', (error) =>
    deps.log.debug({ err: error, ...context }, 'the daemon died while answering'),
  );
  let isStored = false;
  let refusal: unknown;
  try {
    isStored = await deps.stored(spec.endpoint.incarnation, seq);
  } catch (error) {
    refusal = error;
  }
  const isGone = answer.destroyed || (!isStored && answer.socket.destroyed);
  if (isGone) {
    passage.isAnswered = false;
    unreachable(deps, passage, new Error('the daemon died before its answer was stored'));
  } else if (refusal !== undefined) await refuseOrRelay(deps, passage, answer, refusal);
  else if (res.destroyed || res.headersSent) answer.destroy();
  else relayPlain(answer, res);
}

/**
 * Has the daemon take the prompt back, and answers 507. If the daemon cannot, answers the prompt's 202, because its turn runs.
 */
async function refuseOrRelay(
  deps: ForwardDeps,
  passage: Passage,
  answer: IncomingMessage,
  refusal: unknown,
): Promise<void> {
  const { res, spec } = passage;
  const { client, log } = deps;
  const context = { requestId: spec.requestId, incarnation: spec.endpoint.incarnation };
  try {
    const acceptance = await readAcceptance(answer);
    const { endpoint, path } = spec;
    const isTakenBack = await takeBackPrompt(
      { client, log, timeoutMs: TAKE_BACK_TIMEOUT_MS },
      { endpoint, path, caller: spec, acceptance },
    );
    if (res.destroyed || res.headersSent) return;
    if (isTakenBack) {
      const message = 'The prompt could not be stored, so it was taken back.';
      sendError(res, fail('storage_unavailable', message), log, { ...context, err: refusal });
    } else relayWhole(answer, acceptance, res);
  } catch (error) {
    passage.isAnswered = false;
    unreachable(deps, passage, error instanceof Error ? error : new Error(String(error)));
  }
}

/**
 * Answers 503 for a daemon that cannot be reached, unless the daemon's answer or a refusal is already on its way to the client.
 */
function unreachable(deps: ForwardDeps, passage: Passage, error: Error): void {
  const { req, res, spec } = passage;
  if (passage.isAnswered || res.destroyed || res.headersSent) return;
  deps.connections.forget(spec.endpoint);
  const { incarnation, workspaceId } = spec.endpoint;
  const context = { requestId: spec.requestId, incarnation, err: error };
  const message = 'The daemon of this workspace cannot be reached; it is being replaced.';
  sendError(res, fail('workspace_runtime_unavailable', message, { workspaceId }), deps.log, context);
  drainBody(req, spec.bodyCapBytes);
}
