// One spelling per workspace: a path is canonicalised once, where it enters the process; all later code compares strings.
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { failPlain } from './errors.ts';
import { truncated } from './log.ts';

/** Longest `cwd` that a client may send, in UTF-16 units (the protocol's bound). */
export const MAX_CWD_CHARS = 4096;

/**
 * The canonical form of an absolute path: symlinks resolved by the operating system. A path that does not exist keeps its
 * plain resolved form, so that the caller can compare it with a workspace and name it in the refusal.
 * @throws ApiError 400 for any other failure of the system (EACCES, ELOOP, ENAMETOOLONG, ENOTDIR), naming the path.
 */
export function canonicalPath(path: string): string {
  try {
    return realpathSync.native(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    if (code === 'ENOENT') return resolve(path);
    throw failPlain(400, `Cannot resolve "${truncated(path)}": ${code}`);
  }
}

/**
 * A request's `cwd` field: undefined when absent, else canonical.
 * @throws ApiError 400 (without a code, as the protocol has it) when the field is no string, relative, or too long.
 */
export function canonicalCwd(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw failPlain(400, '`cwd` must be a string, an absolute path');
  if (value.length > MAX_CWD_CHARS)
    throw failPlain(400, `\`cwd\` is longer than ${MAX_CWD_CHARS} characters`);
  if (!isAbsolute(value) || value.includes('\0'))
    throw failPlain(400, `\`cwd\` must be an absolute path, got "${truncated(value)}"`);
  return canonicalPath(value);
}

/** The id of a workspace: the first 16 hex digits of SHA-256 over its canonical path in UTF-8. */
export function workspaceIdOf(canonical: string): string {
  return createHash('sha256').update(canonical, 'utf8').digest('hex').slice(0, 16);
}

/** Whether `text` has the form of a workspace id (it may still be unknown). */
export function isWorkspaceId(text: string): boolean {
  return /^[0-9a-f]{16}$/.test(text);
}
