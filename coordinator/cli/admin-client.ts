// Asks the running coordinator over its admin socket.
import { request } from 'node:http';
import { adminSocketPath, type CoordinatorOptions } from '../app.ts';
import { CommandError, EXIT } from './exit-codes.ts';

const ANSWER_TIMEOUT_MS = 10_000;

export interface AdminTarget {
  /** Absolute. */
  readonly stateDir: string;
  readonly runtimeBases: CoordinatorOptions['runtimeBases'];
}

/**
 * Calls the admin plane and returns its JSON answer.
 * @throws CommandError `notRunning` when nobody listens, `unexpected` for a refusal or a late answer.
 */
export async function askCoordinator(
  target: AdminTarget,
  method: 'GET' | 'POST',
  path: string,
): Promise<Record<string, unknown>> {
  const { path: socketPath } = adminSocketPath(target.stateDir, target.runtimeBases);
  const { status, text } = await call(socketPath, method, path, target.stateDir);
  if (status >= 300)
    throw new CommandError(EXIT.unexpected, `the coordinator answered ${status}: ${text.slice(0, 500)}`);
  return JSON.parse(text) as Record<string, unknown>;
}

function call(
  socketPath: string,
  method: string,
  path: string,
  stateDir: string,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const req = request({
      socketPath,
      method,
      path,
      agent: false,
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    req.on('error', (error: NodeJS.ErrnoException) => reject(asCommandError(error, stateDir)));
    req.on('response', (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk: string) => {
        text += chunk;
      });
      res.on('error', (error) => reject(asCommandError(error, stateDir)));
      res.on('end', () => resolve({ status: res.statusCode ?? 500, text }));
    });
    req.end();
  });
}

function asCommandError(error: NodeJS.ErrnoException, stateDir: string): CommandError {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED')
    return new CommandError(EXIT.notRunning, `no coordinator runs on the state directory ${stateDir}`);
  if (error.name === 'TimeoutError' || error.name === 'AbortError')
    return new CommandError(EXIT.unexpected, `the coordinator did not answer within ${ANSWER_TIMEOUT_MS} ms`);
  return new CommandError(EXIT.unexpected, `cannot reach the coordinator: ${error.message}`);
}
