// The registry of workspaces as the HTTP side asks for it, and the protocol's words for a selection that fails.
import { isAbsolute } from 'node:path';
import { canonicalPath, isWorkspaceId } from '../../daemon/contract/canonical-path.ts';
import { type ApiError, fail, failPlain } from '../../daemon/contract/errors.ts';
import { truncated } from '../../daemon/contract/log.ts';
import { noSuchWorkspace } from '../domain/workspace.ts';
import type { WorkspaceKey } from '../supervise/fleet.ts';

export interface WorkspaceEntry extends WorkspaceKey {
  readonly displayName?: string | undefined;
  readonly isPrimary: boolean;
  /** Named on the command line: never removable. */
  readonly isStatic: boolean;
}

export interface WorkspaceBook {
  /** The workspace whose root the canonical path is. Opens nothing. */
  find(canonicalCwd: string): WorkspaceKey | undefined;
  /**
   * The workspace for a new session: like `find`, but a directory under an allowed root is registered first.
   * @throws ApiError 400 when that is not a directory, 409 at the registry's limit.
   */
  open(canonicalCwd: string): WorkspaceKey | undefined;
  byId(id: string): WorkspaceEntry | undefined;
  primary(): WorkspaceEntry | undefined;
  /** Registration order, primary first. */
  list(): readonly WorkspaceEntry[];
  /**
   * Registers and persists a directory.
   * @throws ApiError `workspace_exists`, `workspace_nested`, `workspace_limit_reached`.
   */
  add(canonicalCwd: string, displayName: string | undefined): WorkspaceEntry;
  /** Forgets a workspace, persistently. The caller has checked that it may go. */
  remove(id: string): void;
}

/** The 400 of a path or selector that is no workspace, in the protocol's single- and multi-workspace form. */
export function mismatchError(book: WorkspaceBook, requested: string): ApiError {
  const { code, message, context } = noSuchWorkspace(truncated(requested), book.list());
  return fail(code, message, context);
}

/**
 * The workspace that a decoded selector names.
 * @param isSingular the singular listing route words a relative selector without a code.
 * @throws ApiError 400.
 */
export function bySelector(book: WorkspaceBook, text: string, isSingular: boolean): WorkspaceKey {
  if (!isAbsolute(text) || text.includes('\0')) {
    const known = isWorkspaceId(text) ? book.byId(text) : undefined;
    if (known !== undefined) return known;
    if (isSingular && !isWorkspaceId(text))
      throw failPlain(400, `Not a workspace id or an absolute path: "${truncated(text)}"`);
    throw mismatchError(book, text);
  }
  const found = book.find(canonicalPath(text));
  if (found === undefined) throw mismatchError(book, text);
  return found;
}

/** @throws ApiError 400 when no workspace is registered at all. */
export function primaryOf(book: WorkspaceBook): WorkspaceEntry {
  const primary = book.primary();
  if (primary === undefined) throw mismatchError(book, '');
  return primary;
}
