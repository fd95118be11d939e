// Structured logs for both processes. Secrets are redacted by name; client text is JSON-escaped, so it cannot forge a line.
import { type DestinationStream, type Logger, pino } from 'pino';

export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'child' | 'level'>;

const REDACTED = ['token', 'secret', 'authorization', '*.token', '*.secret', '*.authorization'];

/**
 * A JSON logger on `destination` (default: stderr, written synchronously so that the last line before a death is kept).
 * `level` is a pino level name or `silent`.
 */
export function createLog(name: string, level: string, destination?: DestinationStream): Log {
  return pino(
    { name, level, redact: { paths: REDACTED, censor: '[redacted]' }, base: { name, pid: process.pid } },
    destination ?? pino.destination({ dest: 2, sync: true }),
  );
}

/** `text` cut to `maxChars`, for bodies and log fields that repeat what a client sent. */
export function truncated(text: string, maxChars = 256): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars)}…`;
}
