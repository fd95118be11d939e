// Branches and worktrees that are made for a new session, and undone if the session cannot be created.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from '../contract/errors.ts';
import type { Log } from '../contract/log.ts';
import type { CheckoutRequest, SessionCheckout } from '../domain/checkout-request.ts';
import type { Session } from '../session/session.ts';
import { Git, type GitFailed } from './git.ts';

/** Below the workspace, where the qwen agent has its own. */
const WORKTREES = ['.qwen', 'worktrees'];

export interface MadeCheckout {
  readonly checkout: SessionCheckout;
  /** Where the session works. */
  readonly cwd: string;
}

interface Undoable extends MadeCheckout {
  /** Undoes what was made, unless it has been used meanwhile. Never rejects. */
  undo(): Promise<void>;
}

export interface CheckoutsOptions {
  /** Canonical path. */
  readonly workspace: string;
  /** For git: already stripped of what is ours. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The live sessions. */
  readonly sessions: { all(): readonly Session[] };
  readonly log: Log;
}

export class Checkouts {
  readonly #o: CheckoutsOptions;
  readonly #git: Git;
  /** A session with a branch is on its way: the workspace has one checkout only. */
  #isBranching = false;
  /** One at a time asks git and changes it: what it found to be free is then its own to take back. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: CheckoutsOptions) {
    this.#o = options;
    this.#git = new Git(options.workspace, options.env);
  }

  /**
   * Makes what is asked for and runs `use`; takes it back when that fails.
   * @throws ApiError 400, 409, 500 `branch_*` or `worktree_*`, then nothing has changed; and what `use` throws.
   */
  async around<T>(request: CheckoutRequest, use: (made: MadeCheckout) => Promise<T>): Promise<T> {
    if (request.kind === 'worktree')
      return this.#around(() => this.#worktree(request.slug ?? madeUpSlug()), use);
    this.#refuseShared();
    this.#isBranching = true;
    try {
      return await this.#around(() => this.#branch(request.name), use);
    } finally {
      this.#isBranching = false;
    }
  }

  async #around<T>(make: () => Promise<Undoable>, use: (made: MadeCheckout) => Promise<T>): Promise<T> {
    const made = await this.#inTurn(make);
    try {
      return await use(made);
    } catch (error) {
      await this.#inTurn(() => made.undo());
      throw error;
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #branch(name: string): Promise<Undoable> {
    await this.#checkRepository('branch_not_git_repo', 'branch_init_failed');
    if (await this.#git.hasBranch(name))
      throw fail('branch_already_exists', `A branch "${name}" already exists`);
    await this.#checkClean();
    const base = await this.#git.head();
    const baseBranch = (await this.#git.currentBranch()) ?? 'HEAD';
    const undo = () => this.#undoBranch(name, baseBranch === 'HEAD' ? (base ?? 'HEAD') : baseBranch, base);
    try {
      await this.#git.checkOutNew(name);
    } catch (error) {
      await undo();
      throw fail('branch_checkout_failed', `Git could not create the branch: ${(error as Error).message}`);
    }
    return { checkout: { branch: { name, baseBranch } }, cwd: this.#o.workspace, undo };
  }

  /** A branch moves the checkout of everybody who works in the workspace. @throws ApiError 409 */
  #refuseShared(): void {
    const sharing = this.#o.sessions
      .all()
      .find(
        ({ checkout, clients }) =>
          checkout.branch !== undefined || (checkout.worktree === undefined && clients.size > 0),
      );
    if (sharing !== undefined)
      throw fail(
        'branch_session_conflict',
        'Another session is using this checkout; a new branch would switch it too',
        {
          existingSessionId: sharing.sessionId,
        },
      );
    if (this.#isBranching)
      throw fail('branch_session_conflict', 'A branch is already being created for another session');
  }

  async #checkClean(): Promise<void> {
    const isDirty = await this.#git.isDirty().catch((error: Error) => {
      throw fail('branch_status_failed', `Git could not report the status of the tree: ${error.message}`);
    });
    if (isDirty) throw fail('branch_dirty_tree', 'There are uncommitted changes: commit or stash them');
  }

  async #undoBranch(name: string, back: string, base: string | undefined): Promise<void> {
    await this.#takingBack(async () => {
      if (!(await this.#git.hasBranch(name))) return;
      await this.#git.checkOut(back);
      await this.#deleteUnused(name, base);
    });
  }

  /** A branch on which nothing was committed. */
  async #deleteUnused(branch: string, base: string | undefined): Promise<void> {
    if ((await this.#git.commitOf(`refs/heads/${branch}`)) === base) await this.#git.deleteBranch(branch);
  }

  async #worktree(slug: string): Promise<Undoable> {
    await this.#checkRepository('worktree_not_git_repo', 'worktree_init_failed');
    const dir = join(this.#o.workspace, ...WORKTREES);
    const path = join(dir, slug);
    const branch = `worktree-${slug}`;
    const failed = (why: string) =>
      fail('worktree_create_failed', `The worktree "${slug}" was not created: ${why}`);
    if (existsSync(path)) throw failed(`${path} already exists`);
    if (await this.#git.hasBranch(branch)) throw failed(`a branch "${branch}" already exists`);
    const base = await this.#git.head();
    const undo = () => this.#undoWorktree(path, branch, base);
    try {
      mkdirSync(dir, { recursive: true });
      // What is below is no part of the workspace's own repository.
      if (!existsSync(join(dir, '.gitignore'))) writeFileSync(join(dir, '.gitignore'), '*\n');
      await this.#git.addWorktree(path, branch);
    } catch (error) {
      await undo();
      throw failed((error as Error).message);
    }
    return { checkout: { worktree: { slug, path, branch } }, cwd: path, undo };
  }

  async #undoWorktree(path: string, branch: string, base: string | undefined): Promise<void> {
    await this.#takingBack(async () => {
      if (existsSync(path)) await this.#git.removeWorktree(path);
      if (await this.#git.hasBranch(branch)) await this.#deleteUnused(branch, base);
    });
  }

  async #checkRepository(
    notOne: 'branch_not_git_repo' | 'worktree_not_git_repo',
    noGit: 'branch_init_failed' | 'worktree_init_failed',
  ): Promise<void> {
    const isOne = await this.#git.isRepository().catch((error: GitFailed) => {
      throw fail(noGit, `Git cannot be run: ${error.message}`);
    });
    if (!isOne) throw fail(notOne, `${this.#o.workspace} is not in a git repository`);
  }

  async #takingBack(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#o.log.warn({ err: error }, 'a session’s branch or worktree could not be removed again');
    }
  }
}

function madeUpSlug(): string {
  return `session-${randomBytes(4).toString('hex')}`;
}
