// The coordinator's end of the handshake pipe (descriptor 3 of a daemon): one JSON line to the daemon, one back, then the pipe
// is closed.
import type { Duplex } from 'node:stream';
import {
  CONTRACT_VERSION,
  type HandshakeAnswer,
  type HandshakeRequest,
  parseHandshakeAnswer,
  type ReadyLine,
} from '../../daemon/contract/handshake.ts';
import { truncated } from '../../daemon/contract/log.ts';

/** Limit for the daemon's handshake answer. A ready line has a few hundred bytes, a refusal a few lines of text. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** The daemon closed the handshake pipe without an answer. The exit of its process tells why. */
export class HandshakeClosed extends Error {
  constructor() {
    super('the daemon closed its handshake without an answer');
    this.name = 'HandshakeClosed';
  }
}

/**
 * Sends the handshake request to the daemon, reads its answer, closes the pipe. Has no deadline: waits until the pipe closes.
 * @throws HandshakeClosed; Error quoting a line that is no handshake answer, or saying that the answer has over 64 KiB.
 */
export function exchange(pipe: Duplex, request: HandshakeRequest): Promise<HandshakeAnswer> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    // EPIPE and ECONNRESET say only that the daemon's end is gone, and the `close` event follows them.
    pipe.on('error', () => undefined);
    pipe.once('close', () => reject(new HandshakeClosed()));
    pipe.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf('\n');
      if (end === -1 && received.length <= MAX_ANSWER_BYTES) return;
      try {
        resolve(parseAnswer(received, end));
      } catch (error) {
        reject(error);
      }
      pipe.destroy();
    });
    pipe.write(`${JSON.stringify(request)}\n`);
  });
}

function parseAnswer(received: Buffer, end: number): HandshakeAnswer {
  if (end === -1 || end > MAX_ANSWER_BYTES)
    throw new Error(`the daemon answered its handshake with more than ${MAX_ANSWER_BYTES} bytes`);
  const line = received.toString('utf8', 0, end);
  try {
    return parseHandshakeAnswer(line);
  } catch (error) {
    throw new Error(
      `the daemon answered its handshake with ${JSON.stringify(truncated(line))}: ${(error as Error).message}`,
    );
  }
}

/**
 * Accepts the daemon's handshake answer as its ready line: contract version, incarnation, socket and pid must be as expected.
 * @throws Error with the daemon's text when the daemon refused, else naming the field of the answer that differs.
 */
export function acceptedReadyLine(
  answer: HandshakeAnswer,
  request: HandshakeRequest,
  pid: number,
): ReadyLine {
  if (!answer.ready) throw new Error(answer.error);
  const expected = {
    contract: CONTRACT_VERSION,
    incarnation: request.incarnation,
    socket: request.socket,
    pid,
  };
  for (const [name, value] of Object.entries(expected)) {
    const given = answer[name as keyof typeof expected];
    if (given !== value)
      throw new Error(
        `the daemon's ready line has ${name} ${given}, expected ${value}: check the daemon command`,
      );
  }
  return answer;
}
