// Makes the coordinator's own calls to a daemon: one request, with the whole answer read into memory.
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { fail, messageOf } from '../../daemon/contract/errors.ts';
import type { DaemonConnections } from './daemon-connections.ts';
import { requestTo } from './dial.ts';
import type { Endpoint } from './endpoint.ts';

export interface DaemonCall {
  readonly method: string;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body?: Buffer;
  /** Aborting the signal destroys the request; the daemon then undoes the session that the request was making. */
  readonly signal: AbortSignal;
}

export interface DaemonAnswer extends Pick<IncomingMessage, 'headers' | 'rawHeaders'> {
  readonly status: number;
  readonly body: Buffer;
}

export interface DaemonClient {
  /**
   * Sends the request and returns the daemon's answer, whatever its status.
   * @throws ApiError 503 `workspace_runtime_unavailable` when the daemon cannot be reached, ends before its answer is
   *   complete, or answers more than the client's bound. The signal's reason once the signal is aborted.
   */
  call(endpoint: Endpoint, call: DaemonCall): Promise<DaemonAnswer>;
}

/** @param maxAnswerBytes bound of one answer; the answer to the load of a session is the largest (about 12 MiB). */
export function createDaemonClient(connections: DaemonConnections, maxAnswerBytes: number): DaemonClient {
  return {
    async call(endpoint, call) {
      call.signal.throwIfAborted();
      try {
        return await exchange(connections, endpoint, call, maxAnswerBytes);
      } catch (error) {
        call.signal.throwIfAborted();
        connections.forget(endpoint);
        const message = `The daemon of this workspace did not answer: ${messageOf(error)}`;
        throw fail('workspace_runtime_unavailable', message, { workspaceId: endpoint.workspaceId });
      }
    },
  };
}

function exchange(
  connections: DaemonConnections,
  endpoint: Endpoint,
  call: DaemonCall,
  maxAnswerBytes: number,
): Promise<DaemonAnswer> {
  return new Promise((resolve, reject) => {
    const request = requestTo(endpoint.address, {
      agent: connections.poolFor(endpoint),
      method: call.method,
      path: call.path,
      headers: { ...call.headers, 'content-length': call.body?.length ?? 0 },
      signal: call.signal,
    });
    request.on('error', reject);
    request.on('response', (answer) => {
      collect(answer, maxAnswerBytes).then(
        (body) =>
          resolve({
            status: answer.statusCode ?? 502,
            headers: answer.headers,
            rawHeaders: answer.rawHeaders,
            body,
          }),
        reject,
      );
    });
    request.end(call.body);
  });
}

async function collect(answer: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw new Error(`its answer exceeds ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  if (!answer.complete) throw new Error('its answer was cut short');
  return Buffer.concat(chunks);
}
