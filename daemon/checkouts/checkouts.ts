// Makes the git branch or worktree of a new session, and removes it again if the session cannot be created.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from '../contract/errors.ts';
import type { Log } from '../contract/log.ts';
import type { CheckoutRequest, SessionCheckout } from '../domain/checkout-request.ts';
import type { Session } from '../session/session.ts';
import { Git, type GitFailed } from './git.ts';

/** Directory of the worktrees below the workspace, the same in which the qwen agent makes its own worktrees. */
const WORKTREES = ['.qwen', 'worktrees'];

export interface MadeCheckout {
  readonly checkout: SessionCheckout;
  /** The session's working directory. */
  readonly cwd: string;
}

interface UndoableCheckout extends MadeCheckout {
  /** Removes the branch or worktree again, unless it was changed since it was made. Never rejects. */
  undo(): Promise<void>;
}

export interface CheckoutsDeps {
  /** Canonical path of the workspace. */
  readonly workspace: string;
  /** Environment for git, already stripped of the daemon's own variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The live sessions. */
  readonly sessions: { all(): readonly Session[] };
  readonly log: Log;
}

export class Checkouts {
  readonly #deps: CheckoutsDeps;
  readonly #git: Git;
  /**
   * True while a session with a new branch is being created. No other such session is created meanwhile, because the workspace
   * itself has only one checkout.
   */
  #isBranching = false;
  /**
   * The newest of the steps that read and change the repository. Steps run one after the other, so that a name which a step found
   * free is the step's own to remove.
   */
  #lastStep: Promise<unknown> = Promise.resolve();

  constructor(deps: CheckoutsDeps) {
    this.#deps = deps;
    this.#git = new Git(deps.workspace, deps.env);
  }

  /**
   * Makes the requested checkout and runs `use` with it; removes the checkout again when `use` fails.
   * @throws ApiError 400, 409, 500 `branch_*` or `worktree_*`: the checkout was not made, and nothing has changed.
   * @throws whatever `use` throws.
   */
  async around<T>(request: CheckoutRequest, use: (made: MadeCheckout) => Promise<T>): Promise<T> {
    if (request.kind === 'worktree')
      return this.#around(() => this.#worktree(request.slug ?? randomSlug()), use);
    this.#refuseShared();
    this.#isBranching = true;
    try {
      return await this.#around(() => this.#branch(request.name), use);
    } finally {
      this.#isBranching = false;
    }
  }

  async #around<T>(
    make: () => Promise<UndoableCheckout>,
    use: (made: MadeCheckout) => Promise<T>,
  ): Promise<T> {
    const made = await this.#inTurn(make);
    try {
      return await use(made);
    } catch (error) {
      await this.#inTurn(() => made.undo());
      throw error;
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#lastStep.then(work);
    this.#lastStep = done.catch(() => undefined);
    return done;
  }

  async #branch(name: string): Promise<UndoableCheckout> {
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
    return { checkout: { branch: { name, baseBranch } }, cwd: this.#deps.workspace, undo };
  }

  /**
   * Refuses a new branch where another session works in the workspace itself: the branch would be checked out for that session
   * too.
   * @throws ApiError 409
   */
  #refuseShared(): void {
    const sharing = this.#deps.sessions
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
    await this.#removing(async () => {
      if (!(await this.#git.hasBranch(name))) return;
      await this.#git.checkOut(back);
      await this.#deleteUnused(name, base);
    });
  }

  /** Deletes the branch if nothing was committed on it. @param base the commit from which the branch was made. */
  async #deleteUnused(branch: string, base: string | undefined): Promise<void> {
    if ((await this.#git.commitOf(`refs/heads/${branch}`)) === base) await this.#git.deleteBranch(branch);
  }

  async #worktree(slug: string): Promise<UndoableCheckout> {
    await this.#checkRepository('worktree_not_git_repo', 'worktree_init_failed');
    const dir = join(this.#deps.workspace, ...WORKTREES);
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
      // Has the workspace's repository ignore the worktrees.
      if (!existsSync(join(dir, '.gitignore'))) writeFileSync(join(dir, '.gitignore'), '*\n');
      await this.#git.addWorktree(path, branch);
    } catch (error) {
      await undo();
      throw failed((error as Error).message);
    }
    return { checkout: { worktree: { slug, path, branch } }, cwd: path, undo };
  }

  async #undoWorktree(path: string, branch: string, base: string | undefined): Promise<void> {
    await this.#removing(async () => {
      if (existsSync(path)) await this.#git.removeWorktree(path);
      if (await this.#git.hasBranch(branch)) await this.#deleteUnused(branch, base);
    });
  }

  async #checkRepository(
    notRepository: 'branch_not_git_repo' | 'worktree_not_git_repo',
    noGit: 'branch_init_failed' | 'worktree_init_failed',
  ): Promise<void> {
    const isRepository = await this.#git.isRepository().catch((error: GitFailed) => {
      throw fail(noGit, `Git cannot be run: ${error.message}`);
    });
    if (!isRepository) throw fail(notRepository, `${this.#deps.workspace} is not in a git repository`);
  }

  async #removing(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'a session’s branch or worktree could not be removed again');
    }
  }
}

function randomSlug(): string {
  return `session-${randomBytes(4).toString('hex')}`;
}
