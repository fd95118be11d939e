// Calls the admin plane of the running coordinator over the admin socket.
import { request } from 'node:http';
import { type AdminSocket, type AdminTarget, findAdminSocket, unreachable } from './admin-socket.ts';
import { CommandError, EXIT } from './exit-codes.ts';

const ANSWER_TIMEOUT_MS = 10_000;
/** How much a message quotes of an answer that is not in the admin plane's form. */
const MAX_QUOTED_CHARS = 500;

type Method = 'GET' | 'POST' | 'PATCH';

/** Body and deadline of a call to the admin plane. */
interface Question {
  /** Body of the call, sent as JSON. */
  readonly body?: object;
  /** Longest wait for the answer; `none`: without a deadline, until the answer comes or the connection ends. */
  readonly timeoutMs?: number | 'none';
}

/**
 * Calls the admin plane and returns its JSON answer.
 * @throws CommandError `notRunning` when no coordinator runs, `usage` when the coordinator refuses the call (4xx), `unexpected`
 *   when it cannot be reached, fails, or is late; UnusablePath when the state or runtime directory is not this user's alone.
 */
export async function askCoordinator(
  target: AdminTarget,
  method: Method,
  path: string,
  question: Question = {},
): Promise<Record<string, unknown>> {
  const { status, text } = await call(findAdminSocket(target), method, path, question);
  if (status >= 300) throw refusal(status, text);
  return JSON.parse(text) as Record<string, unknown>;
}

/**
 * The coordinator's refusal as an error for the command line, in words for a person who has typed a command and no HTTP request.
 */
function refusal(status: number, text: string): CommandError {
  const exitCode = status >= 400 && status < 500 ? EXIT.usage : EXIT.unexpected;
  const { error, code, requestedWorkspace } = bodyOf(text);
  if (code === 'workspace_mismatch' && typeof requestedWorkspace === 'string')
    return new CommandError(
      exitCode,
      `${requestedWorkspace} is not a workspace of this coordinator; "qwen-coordinator status" lists them`,
    );
  if (typeof error === 'string') return new CommandError(exitCode, error);
  // The answer is not in the admin plane's form: it comes from a coordinator of another version, or from another program.
  return new CommandError(
    EXIT.unexpected,
    `the coordinator answered ${status}: ${text.slice(0, MAX_QUOTED_CHARS)}`,
  );
}

function bodyOf(text: string): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function call(
  socket: AdminSocket,
  method: Method,
  path: string,
  { body, timeoutMs = ANSWER_TIMEOUT_MS }: Question,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const req = request({
      socketPath: socket.path,
      method,
      path,
      agent: false,
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      ...(timeoutMs !== 'none' && { signal: AbortSignal.timeout(timeoutMs) }),
    });
    req.on('error', (error: NodeJS.ErrnoException) => reject(asCommandError(error, socket, timeoutMs)));
    req.on('response', (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk: string) => {
        text += chunk;
      });
      res.on('error', (error) => reject(asCommandError(error, socket, timeoutMs)));
      res.on('end', () => resolve({ status: res.statusCode ?? 500, text }));
    });
    req.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function asCommandError(
  error: NodeJS.ErrnoException,
  socket: AdminSocket,
  timeoutMs: number | 'none',
): CommandError {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') return unreachable(socket);
  if (error.name === 'TimeoutError' || error.name === 'AbortError')
    return new CommandError(EXIT.unexpected, `the coordinator did not answer within ${timeoutMs} ms`);
  return new CommandError(EXIT.unexpected, `cannot reach the coordinator: ${error.message}`);
}
