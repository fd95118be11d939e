// Structured logs for both processes. Secrets are redacted by name; client text is JSON-escaped, so it cannot forge a line.
import { type DestinationStream, type Logger, pino } from 'pino';

export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'child' | 'level'>;

/** Values of `--log-level`, from the most verbose to the least. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const DEFAULT_LOG_LEVEL = 'info' satisfies LogLevel;

const REDACTED = ['token', 'secret', 'authorization', '*.token', '*.secret', '*.authorization'];

/**
 * A JSON logger on `destination` (default: stderr, written synchronously so that the last line before a death is kept).
 * @param name of the process, on each line. @param level one of `LOG_LEVELS`.
 */
export function createLog(name: string, level: string, destination?: DestinationStream): Log {
  return pino(
    { name, level, redact: { paths: REDACTED, censor: '[redacted]' }, base: { name, pid: process.pid } },
    destination ?? logDestination(2),
  );
}

/** Log lines that cannot be written (disk full) wait in memory up to this size; further lines are dropped. */
const MAX_WAITING_BYTES = 256 * 1024;

/** Writes log lines to the descriptor. When a write fails (disk full) the lines are kept for the next write that succeeds. */
export function logDestination(fd: number): DestinationStream {
  const stream = pino.destination({ dest: fd, sync: true, maxLength: MAX_WAITING_BYTES });
  // Without a listener, a failed write would throw in the code that logs, and end the process.
  stream.on('error', () => undefined);
  return stream;
}

/** `text` cut to `maxChars` UTF-16 units, for error bodies and log fields that repeat what a client sent. */
export function truncated(text: string, maxChars = 256): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars)}…`;
}
