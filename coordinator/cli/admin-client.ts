// Asks the running coordinator over its admin socket.
import { request } from 'node:http';
import { type AdminPlace, type AdminTarget, findAdminPlace, unreachable } from './admin-place.ts';
import { CommandError, EXIT } from './exit-codes.ts';

export type { AdminTarget } from './admin-place.ts';

const ANSWER_TIMEOUT_MS = 10_000;

type Method = 'GET' | 'POST' | 'PATCH';

interface Question {
  /** Sent as JSON. */
  readonly body?: object;
  /** For what takes longer than a look. */
  readonly timeoutMs?: number;
}

/**
 * Calls the admin plane and returns its JSON answer.
 * @throws CommandError `notRunning` when no coordinator runs, `unexpected` when it cannot be reached, refuses, or is late;
 *   UnusablePath when a directory on the way is not ours alone.
 */
export async function askCoordinator(
  target: AdminTarget,
  method: Method,
  path: string,
  question: Question = {},
): Promise<Record<string, unknown>> {
  const { status, text } = await call(findAdminPlace(target), method, path, question);
  if (status >= 300)
    throw new CommandError(EXIT.unexpected, `the coordinator answered ${status}: ${text.slice(0, 500)}`);
  return JSON.parse(text) as Record<string, unknown>;
}

function call(
  place: AdminPlace,
  method: Method,
  path: string,
  { body, timeoutMs = ANSWER_TIMEOUT_MS }: Question,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const req = request({
      socketPath: place.socketPath,
      method,
      path,
      agent: false,
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(timeoutMs),
    });
    req.on('error', (error: NodeJS.ErrnoException) => reject(asCommandError(error, place, timeoutMs)));
    req.on('response', (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk: string) => {
        text += chunk;
      });
      res.on('error', (error) => reject(asCommandError(error, place, timeoutMs)));
      res.on('end', () => resolve({ status: res.statusCode ?? 500, text }));
    });
    req.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function asCommandError(error: NodeJS.ErrnoException, place: AdminPlace, timeoutMs: number): CommandError {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') return unreachable(place);
  if (error.name === 'TimeoutError' || error.name === 'AbortError')
    return new CommandError(EXIT.unexpected, `the coordinator did not answer within ${timeoutMs} ms`);
  return new CommandError(EXIT.unexpected, `cannot reach the coordinator: ${error.message}`);
}
