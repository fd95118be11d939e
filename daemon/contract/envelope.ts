// Makes of a thrown error the response that a client reads, and logs the error: the only place where request errors are logged.
import type { ServerResponse } from 'node:http';
import { ApiError } from './errors.ts';
import { escapeHtml } from './escape-html.ts';
import type { Log } from './log.ts';

export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** The answer for any thrown value. If it is no ApiError: `500 {"error":"Internal server error"}`, so that no detail leaks. */
export function answerFor(error: unknown): ErrorAnswer {
  if (!(error instanceof ApiError)) {
    return { status: 500, headers: {}, body: { error: 'Internal server error' } };
  }
  const headers: Record<string, string> = {};
  if (error.retryAfterS !== undefined) headers['Retry-After'] = String(error.retryAfterS);
  const code = error.code === undefined ? {} : { code: error.code };
  return { status: error.status, headers, body: { error: error.message, ...code, ...error.context } };
}

/** Logs an error by its kind: an ApiError below status 500 at debug, from 500 on at warn, any other thrown value at error. */
export function logError(log: Log, error: unknown, context: Readonly<Record<string, unknown>> = {}): void {
  if (!(error instanceof ApiError)) log.error({ err: error, ...context }, 'unexpected error');
  else if (error.status >= 500)
    log.warn({ code: error.code, status: error.status, ...context }, error.message);
  else log.debug({ code: error.code, status: error.status, ...context }, error.message);
}

/** Writes a JSON answer on a raw response. Does nothing once the response's head has been sent. */
function sendJson(
  res: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (res.headersSent || res.destroyed) return;
  const bytes = Buffer.from(JSON.stringify(body));
  res.writeHead(status, {
    ...headers,
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': bytes.length,
  });
  res.end(bytes);
}

/** Logs the error and writes its answer on a raw response. */
export function sendError(
  res: ServerResponse,
  error: unknown,
  log: Log,
  context: Readonly<Record<string, unknown>> = {},
): void {
  logError(log, error, context);
  const answer = answerFor(error);
  sendJson(res, answer.status, answer.body, answer.headers);
}

/** The HTML body of the answer for an unknown route, with the words of the reference server (an express app). */
export function unknownRouteHtml(method: string, path: string): string {
  const escaped = escapeHtml(`${method} ${path}`);
  return `<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Error</title></head>\n<body><pre>Cannot ${escaped}</pre></body>\n</html>\n`;
}
