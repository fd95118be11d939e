// Refuses a request body that is too large, in such a way that the client can read the refusal.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { sendError } from '../../daemon/contract/envelope.ts';
import { bodyTooLarge } from '../../daemon/contract/json-body.ts';
import type { Log } from '../../daemon/contract/log.ts';

/** Answers 413 and reads on until the client has finished. Where an answer has begun already, the connection is cut. */
export function refuseBody(req: IncomingMessage, res: ServerResponse, capBytes: number, log: Log): void {
  if (res.headersSent) {
    res.destroy();
    return;
  }
  sendError(res, bodyTooLarge(capBytes), log);
  drainBody(req, capBytes);
}

/**
 * Reads and drops the rest of a body whose answer is already written: a connection that is closed with unread data is reset, and
 * the reset overtakes the answer. A client that sends more than `spareBytes` after the answer is cut off.
 */
export function drainBody(req: IncomingMessage, spareBytes: number): void {
  let leftBytes = spareBytes;
  req.unpipe();
  req.on('data', (chunk: Buffer) => {
    leftBytes -= chunk.length;
    if (leftBytes < 0) req.socket.destroy();
  });
  req.resume();
}
