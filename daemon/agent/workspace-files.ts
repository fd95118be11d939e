// Answers the agent's `fs/read_text_file` and `fs/write_text_file`, inside the workspace only. This guards against mistakes and
// symlinks that lead out; it is no sandbox, because the agent runs as the same user.
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { truncated } from '../contract/log.ts';
import { AgentCallError, INTERNAL_ERROR, type Params, RESOURCE_NOT_FOUND } from './agent.ts';

const INVALID_PARAMS = -32602;
const MAX_READ_BYTES = 16 * 1024 * 1024;

/**
 * Answers the agent's `fs/read_text_file`.
 * @returns `content`: the whole file, or `limit` lines of it from `line` on (counted from 1).
 * @throws AgentCallError where the path is refused, or the file cannot be read.
 */
export async function readTextFile(workspace: string, params: Params): Promise<{ content: string }> {
  const path = textParam(params, 'path');
  const firstLine = countParam(params, 'line', 1);
  const maxLines = countParam(params, 'limit', 0);
  return withFileErrors(path, async () => {
    const real = await containedPath(workspace, path);
    const found = await stat(real);
    // Reading a pipe or a device would never end.
    if (!found.isFile()) throw refusal(path, 'is not a regular file', 'not_a_file');
    if (found.size > MAX_READ_BYTES)
      throw refusal(path, `is larger than ${MAX_READ_BYTES} bytes`, 'file_too_large');
    return { content: cut(await readFile(real, 'utf8'), firstLine, maxLines) };
  });
}

/**
 * Answers the agent's `fs/write_text_file`: replaces the file in one step, so that no reader ever sees half of it; makes missing
 * directories, keeps the file's mode.
 * @throws AgentCallError where the path is refused, or the file cannot be written.
 */
export async function writeTextFile(workspace: string, params: Params): Promise<null> {
  const path = textParam(params, 'path');
  const content = textParam(params, 'content');
  return withFileErrors(path, async () => {
    const real = await containedPath(workspace, path);
    if (real === workspace) throw refusal(path, 'is the workspace itself', 'not_a_file');
    await mkdir(dirname(real), { recursive: true });
    await replaceFile(real, content);
    return null;
  });
}

/**
 * Resolves every symlink in `path`, whose last parts need not exist.
 * @throws AgentCallError when the path is relative or leads out of the workspace.
 */
async function containedPath(workspace: string, path: string): Promise<string> {
  if (!isAbsolute(path) || path.includes('\0'))
    throw refusal(path, 'is not an absolute path', 'invalid_path');
  const real = await realpathOfNearest(resolve(path));
  if (!isInside(workspace, real))
    throw refusal(path, `is outside the workspace ${workspace}`, 'path_outside_workspace');
  return real;
}

/** The `realpath` of the longest part of the path that exists, with the rest appended. */
async function realpathOfNearest(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) throw error;
    return join(await realpathOfNearest(dirname(path)), basename(path));
  }
}

function isInside(workspace: string, path: string): boolean {
  const way = relative(workspace, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

async function replaceFile(path: string, content: string): Promise<void> {
  const mode = await existingMode(path);
  const draft = join(dirname(path), `.${basename(path).slice(0, 100)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    const file = await open(draft, 'wx');
    try {
      await file.writeFile(content, 'utf8');
      if (mode !== undefined) await file.chmod(mode);
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

async function existingMode(path: string): Promise<number | undefined> {
  try {
    const found = await stat(path);
    if (!found.isFile()) throw refusal(path, 'is not a regular file', 'not_a_file');
    return found.mode & 0o7777;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function cut(content: string, firstLine: number, maxLines: number): string {
  if (firstLine <= 1 && maxLines === 0) return content;
  const lines = content.split('\n').slice(Math.max(0, firstLine - 1));
  return (maxLines === 0 ? lines : lines.slice(0, maxLines)).join('\n');
}

function textParam(params: Params, name: string): string {
  const value = params[name];
  if (typeof value === 'string') return value;
  throw new AgentCallError(INVALID_PARAMS, `"${name}" must be a string`);
}

function countParam(params: Params, name: string, fallback: number): number {
  const value = params[name] ?? fallback;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new AgentCallError(INVALID_PARAMS, `"${name}" must be a whole number`);
}

function refusal(path: string, why: string, errorKind: string): AgentCallError {
  return new AgentCallError(INVALID_PARAMS, `${truncated(path)} ${why}`, { errorKind });
}

async function withFileErrors<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof AgentCallError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const rpcCode = code === 'ENOENT' ? RESOURCE_NOT_FOUND : INTERNAL_ERROR;
    throw new AgentCallError(rpcCode, `${truncated(path)}: ${code ?? message}`, { errorKind: code });
  }
}
