// The daemon's side of the handshake with its coordinator on descriptor 3: reads the request line, writes the answer line, and
// closes the descriptor.
import { Socket } from 'node:net';
import {
  HANDSHAKE_FD,
  type HandshakeAnswer,
  type HandshakeRequest,
  parseHandshakeRequest,
} from '../contract/handshake.ts';

/** Longest request line that the daemon accepts; a real one is far shorter. */
const MAX_LINE_BYTES = 256 * 1024;

export interface Handshake {
  readonly request: HandshakeRequest;
  /**
   * Writes the answer line and closes the pipe. Resolves also when the line cannot be written, because a daemon whose
   * coordinator has ended waits to be adopted.
   */
  answer(line: HandshakeAnswer): Promise<void>;
}

/**
 * Reads the coordinator's request line.
 * @throws Error when the pipe ends before the line is complete (the coordinator died), or the line is malformed.
 */
export async function readHandshake(): Promise<Handshake> {
  const pipe = new Socket({ fd: HANDSHAKE_FD, readable: true, writable: true });
  const line = await firstLine(pipe);
  return {
    request: parseHandshakeRequest(line),
    answer: (answer) =>
      new Promise((resolve) => {
        pipe.once('close', () => resolve());
        pipe.on('error', () => pipe.destroy());
        pipe.end(`${JSON.stringify(answer)}\n`, () => pipe.destroy());
      }),
  };
}

function firstLine(pipe: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    pipe.setEncoding('utf8');
    const onData = (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) {
        pipe.off('data', onData).pause();
        resolve(text.slice(0, end));
      } else if (text.length > MAX_LINE_BYTES) reject(new Error('the handshake line is too long'));
    };
    pipe.on('data', onData);
    pipe.once('error', reject);
    pipe.once('end', () => reject(new Error('the coordinator closed the handshake before it was complete')));
  });
}
