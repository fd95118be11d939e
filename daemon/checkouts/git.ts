// Runs git, for the few operations that checkouts need. A repository's hooks and file monitor are not run.
import { execFile } from 'node:child_process';

const TIMEOUT_MS = 30_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** Git arguments that keep git from running programs which a repository's configuration may name. */
const NO_PROGRAMS = ['-c', 'core.hooksPath=/dev/null', '-c', 'core.fsmonitor=false'];

/** A run of git ended with an error, or git could not be run. */
export class GitFailed extends Error {
  /** Whether the git program was not found. */
  readonly isMissing: boolean;
  constructor(message: string, isMissing: boolean) {
    super(message);
    this.name = 'GitFailed';
    this.isMissing = isMissing;
  }
}

export class Git {
  readonly #cwd: string;
  readonly #env: Readonly<Record<string, string | undefined>>;

  /** @param env the environment of git, already stripped of the daemon's own variables. */
  constructor(cwd: string, env: Readonly<Record<string, string | undefined>>) {
    this.#cwd = cwd;
    this.#env = env;
  }

  /** Whether the working directory is in a git work tree. @throws GitFailed when git is missing. */
  async isRepository(): Promise<boolean> {
    return (await this.#query('rev-parse', '--is-inside-work-tree')) === 'true';
  }

  /** The name of the branch that is checked out; undefined for a detached head. */
  currentBranch(): Promise<string | undefined> {
    return this.#query('symbolic-ref', '--quiet', '--short', 'HEAD');
  }

  /** The id of the commit that is checked out; undefined in a repository without commits. */
  head(): Promise<string | undefined> {
    return this.commitOf('HEAD');
  }

  commitOf(ref: string): Promise<string | undefined> {
    return this.#query('rev-parse', '--verify', '--quiet', `${ref}^{commit}`);
  }

  async hasBranch(name: string): Promise<boolean> {
    return (await this.#query('show-ref', '--verify', '--hash', `refs/heads/${name}`)) !== undefined;
  }

  /** Whether tracked files have changes that are not committed. @throws GitFailed */
  async isDirty(): Promise<boolean> {
    return (await this.#run('--no-optional-locks', 'status', '--porcelain', '--untracked-files=no')) !== '';
  }

  /** Makes a branch from the commit that is checked out, and checks the branch out. @throws GitFailed */
  async checkOutNew(branch: string): Promise<void> {
    await this.#run('checkout', '--quiet', '-b', branch);
  }

  /** Checks out a branch or a commit. @throws GitFailed */
  async checkOut(ref: string): Promise<void> {
    await this.#run('checkout', '--quiet', ref);
  }

  /** Deletes a branch, also a branch with commits that no other branch has. @throws GitFailed */
  async deleteBranch(name: string): Promise<void> {
    await this.#run('branch', '--quiet', '-D', name);
  }

  /** Makes a worktree with a new branch from the commit that is checked out. @throws GitFailed */
  async addWorktree(path: string, branch: string): Promise<void> {
    await this.#run('worktree', 'add', '--quiet', '-b', branch, path, 'HEAD');
  }

  /** Removes a worktree. @throws GitFailed, also when the worktree has changes that are not committed */
  async removeWorktree(path: string): Promise<void> {
    await this.#run('worktree', 'remove', path);
  }

  /**
   * Runs git for a query that git answers by failing, too.
   * @returns git's output; undefined where git fails.
   * @throws GitFailed when git is missing
   */
  async #query(...args: readonly string[]): Promise<string | undefined> {
    try {
      return await this.#run(...args);
    } catch (error) {
      if (error instanceof GitFailed && !error.isMissing) return undefined;
      throw error;
    }
  }

  #run(...args: readonly string[]): Promise<string> {
    const env = { ...this.#env, GIT_TERMINAL_PROMPT: '0', LC_ALL: 'C' };
    const options = { cwd: this.#cwd, env, timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES };
    return new Promise((resolve, reject) => {
      execFile('git', [...NO_PROGRAMS, ...args], options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout.trim());
        else reject(new GitFailed(stderr.trim() || error.message, error.code === 'ENOENT'));
      });
    });
  }
}
