// Calls the git program, for the few things that the daemon does with it. A repository's hooks and file monitor are not run.
import { execFile } from 'node:child_process';

const TIMEOUT_MS = 30_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** Keeps git from running the programs that a repository's configuration may name. */
const NO_PROGRAMS = ['-c', 'core.hooksPath=/dev/null', '-c', 'core.fsmonitor=false'];

/** git ended with an error, or could not be run. */
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

  /** @throws GitFailed when there is no git. */
  async isRepository(): Promise<boolean> {
    return (await this.#query('rev-parse', '--is-inside-work-tree')) === 'true';
  }

  /** The branch that is checked out; undefined for a detached head. */
  currentBranch(): Promise<string | undefined> {
    return this.#query('symbolic-ref', '--quiet', '--short', 'HEAD');
  }

  /** The commit that is checked out; undefined before the first one. */
  head(): Promise<string | undefined> {
    return this.commitOf('HEAD');
  }

  commitOf(ref: string): Promise<string | undefined> {
    return this.#query('rev-parse', '--verify', '--quiet', `${ref}^{commit}`);
  }

  async hasBranch(name: string): Promise<boolean> {
    return (await this.#query('show-ref', '--verify', '--hash', `refs/heads/${name}`)) !== undefined;
  }

  /** Whether files that git knows have changes that are not committed. @throws GitFailed */
  async isDirty(): Promise<boolean> {
    return (await this.#run('--no-optional-locks', 'status', '--porcelain', '--untracked-files=no')) !== '';
  }

  /** @throws GitFailed */
  async checkOutNew(branch: string): Promise<void> {
    await this.#run('checkout', '--quiet', '-b', branch);
  }

  /** @throws GitFailed */
  async checkOut(ref: string): Promise<void> {
    await this.#run('checkout', '--quiet', ref);
  }

  /** @throws GitFailed */
  async deleteBranch(name: string): Promise<void> {
    await this.#run('branch', '--quiet', '-D', name);
  }

  /** @throws GitFailed */
  async addWorktree(path: string, branch: string): Promise<void> {
    await this.#run('worktree', 'add', '--quiet', '-b', branch, path, 'HEAD');
  }

  /** @throws GitFailed, also when the worktree has changes that are not committed */
  async removeWorktree(path: string): Promise<void> {
    await this.#run('worktree', 'remove', path);
  }

  /** Runs a query for which git's failure is an answer too. @returns undefined where git fails. @throws GitFailed when git is missing */
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
