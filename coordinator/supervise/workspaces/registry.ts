// The registered workspaces: those of the command line, and those that clients added or opened. The store keeps them.
import { statSync } from 'node:fs';
import { workspaceIdOf } from '../../../daemon/contract/canonical-path.ts';
import type { Clock } from '../../../daemon/contract/clock.ts';
import { fail, failPlain } from '../../../daemon/contract/errors.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { matchWorkspace, primaryFirst, registrationRefusal } from '../../domain/workspace.ts';
import type { Store, WorkspaceRow } from '../../store/store.ts';
import type { WorkspaceKey } from '../fleet.ts';

export interface RegistryOptions {
  /** Canonical paths of the workspaces on the command line; the first is the primary workspace. */
  readonly workspaces: readonly string[];
  /** Canonical paths of the roots, under which any directory may become a workspace on first demand. */
  readonly roots: readonly string[];
  readonly store: Pick<Store, 'workspaces'>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface WorkspaceEntry extends WorkspaceKey {
  readonly displayName: string | undefined;
  readonly isPrimary: boolean;
  /** Whether the workspace is named on the command line; then it cannot be removed. */
  readonly isStatic: boolean;
}

export class WorkspaceRegistry {
  readonly #options: RegistryOptions;
  readonly #primaryId: string | undefined;
  #rows: readonly WorkspaceRow[] = [];

  /** Stores the workspaces of the command line. Static workspaces of an earlier command line become dynamic. */
  constructor(options: RegistryOptions) {
    this.#options = options;
    const { workspaces, store } = options;
    const staticIds = new Set(workspaces.map(workspaceIdOf));
    for (const row of store.workspaces.list())
      if (row.origin === 'static' && !staticIds.has(row.id))
        store.workspaces.upsert({ ...row, origin: 'dynamic' });
    for (const path of workspaces) this.#store(path, 'static', undefined);
    this.#primaryId = workspaces[0] === undefined ? undefined : workspaceIdOf(workspaces[0]);
    this.#reload();
  }

  /** All workspaces in the order of their registration, except that the primary workspace is first. */
  list(): readonly WorkspaceEntry[] {
    const primary = this.#primaryId ?? this.#rows[0]?.id;
    return primaryFirst(this.#rows, primary).map((row) => ({
      id: row.id,
      path: row.path,
      displayName: row.displayName ?? undefined,
      isPrimary: row.id === primary,
      isStatic: row.origin === 'static',
    }));
  }

  primary(): WorkspaceEntry | undefined {
    return this.list().find(({ isPrimary }) => isPrimary);
  }

  byId(id: string): WorkspaceEntry | undefined {
    return this.list().find((entry) => entry.id === id);
  }

  /** The workspace with this canonical path; undefined when none has it. Registers nothing. */
  find(canonicalCwd: string): WorkspaceEntry | undefined {
    return this.byId(workspaceIdOf(canonicalCwd));
  }

  /**
   * The workspace for a new session: the registered workspace of that path, or a directory under a root, which is registered now.
   * Undefined when the path is neither.
   * @throws ApiError 400 when the path lies under a root and is no directory; 409 at the registry's limit.
   */
  open(canonicalCwd: string): WorkspaceKey | undefined {
    const match = matchWorkspace(canonicalCwd, this.#rows, this.#options.roots);
    if (match.kind === 'registered') return match.workspace;
    if (match.kind === 'first_demand') {
      if (!statSync(match.path, { throwIfNoEntry: false })?.isDirectory())
        throw failPlain(400, `\`cwd\` is not a directory: ${match.path}`);
      this.#options.log.info({ workspace: match.path }, 'workspace opened under a root');
      return this.#added(match.path, undefined);
    }
    const { code, message, context } = match.refusal;
    if (code === 'workspace_mismatch') return undefined;
    throw fail(code, message, context);
  }

  /** Registers a directory. @throws ApiError 409 `workspace_exists`, `workspace_nested`, `workspace_limit_reached`. */
  add(canonicalCwd: string, displayName: string | undefined): WorkspaceEntry {
    const refusal = registrationRefusal(canonicalCwd, this.#rows);
    if (refusal !== undefined) throw fail(refusal.code, refusal.message, refusal.context);
    return this.#added(canonicalCwd, displayName);
  }

  /** Removes a workspace, from the store too. The caller has to check that it may be removed. */
  remove(id: string): void {
    this.#options.store.workspaces.remove(id);
    this.#reload();
  }

  /** Registers a directory as a dynamic workspace. Checks nothing. */
  #added(path: string, displayName: string | undefined): WorkspaceEntry {
    this.#store(path, 'dynamic', displayName);
    this.#reload();
    return this.byId(workspaceIdOf(path)) as WorkspaceEntry;
  }

  #store(path: string, origin: WorkspaceRow['origin'], displayName: string | undefined): void {
    const rows = this.#options.store.workspaces.list();
    const known = rows.find((row) => row.path === path);
    // `createdAtMs` orders the list, so it grows even when two registrations share a millisecond or the clock was set back.
    const latestAtMs = Math.max(0, ...rows.map(({ createdAtMs }) => createdAtMs));
    this.#options.store.workspaces.upsert({
      id: workspaceIdOf(path),
      path,
      displayName: displayName ?? known?.displayName ?? null,
      origin,
      createdAtMs: known?.createdAtMs ?? Math.max(this.#options.clock.nowMs(), latestAtMs + 1),
    });
  }

  #reload(): void {
    this.#rows = this.#options.store.workspaces.list();
  }
}
