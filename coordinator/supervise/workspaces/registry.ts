// The workspaces of this coordinator: those of the command line, and those that clients added or opened. Kept in the store.
import { statSync } from 'node:fs';
import { workspaceIdOf } from '../../../daemon/contract/canonical-path.ts';
import type { Clock } from '../../../daemon/contract/clock.ts';
import { fail, failPlain } from '../../../daemon/contract/errors.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { matchWorkspace, primaryFirst, registrationRefusal } from '../../domain/workspace.ts';
import type { Store, WorkspaceRow } from '../../store/store.ts';
import type { WorkspaceKey } from '../fleet.ts';

export interface RegistryOptions {
  /** Canonical paths of the command line; the first is the primary workspace. */
  readonly workspaces: readonly string[];
  /** Canonical directories under which a workspace may be opened on first demand. */
  readonly roots: readonly string[];
  readonly store: Pick<Store, 'workspaces'>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface WorkspaceEntry extends WorkspaceKey {
  readonly displayName: string | undefined;
  readonly isPrimary: boolean;
  /** Named on the command line: never removable. */
  readonly isStatic: boolean;
}

export class WorkspaceRegistry {
  readonly #options: RegistryOptions;
  readonly #primaryId: string | undefined;
  #rows: readonly WorkspaceRow[] = [];

  /** Stores the workspaces of the command line; those of an earlier command line become removable. */
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

  /** Registration order, primary first. */
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

  /** The workspace whose directory is the canonical path. Registers nothing. */
  find(canonicalCwd: string): WorkspaceEntry | undefined {
    return this.byId(workspaceIdOf(canonicalCwd));
  }

  /**
   * The workspace for a new session: a registered one, or a directory under an allowed root, which is then registered.
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

  /** Registers and stores a directory. @throws ApiError 409 `workspace_exists`, `workspace_nested`, `workspace_limit_reached`. */
  add(canonicalCwd: string, displayName: string | undefined): WorkspaceEntry {
    const refusal = registrationRefusal(canonicalCwd, this.#rows);
    if (refusal !== undefined) throw fail(refusal.code, refusal.message, refusal.context);
    return this.#added(canonicalCwd, displayName);
  }

  /** Forgets a workspace, in the store too. The caller has checked that the workspace may go. */
  remove(id: string): void {
    this.#options.store.workspaces.remove(id);
    this.#reload();
  }

  /** Registers a directory that passed every check. */
  #added(path: string, displayName: string | undefined): WorkspaceEntry {
    this.#store(path, 'dynamic', displayName);
    this.#reload();
    return this.byId(workspaceIdOf(path)) as WorkspaceEntry;
  }

  #store(path: string, origin: WorkspaceRow['origin'], displayName: string | undefined): void {
    const rows = this.#options.store.workspaces.list();
    const known = rows.find((row) => row.path === path);
    // The list is ordered by this time: two registrations in one millisecond, or a clock that was set back, must not change it.
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
