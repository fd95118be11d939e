// Sessions with a checkout of their own, in real repositories: what git has afterwards, where the agent works, and what is
// taken back.
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { endFleets, type Server, stubAgent } from '../support/fleet-process.ts';
import { missing } from '../support/machine.ts';
import { operationOf, validateAnswer } from '../support/openapi.ts';
import { Scratch } from '../support/scratch.ts';
import { streamFrom } from '../support/sse-stream.ts';
import { TARGETS, type Target } from '../support/targets.ts';
import { type Answer, call, clientHeader, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

const reason = missing('git');
const withGit = reason === undefined ? describe : describe.skip;
const whyNot = reason === undefined ? '' : ` (skipped: ${reason})`;

class Repository {
  readonly scratch = new Scratch(2);
  readonly #target: Target;
  readonly #agent: string;
  #server: Server | undefined;

  private constructor(target: Target, switches: readonly string[]) {
    this.#target = target;
    this.#agent = stubAgent('--load', ...switches);
  }

  /** With one commit on `main`, and a server over it. */
  static async start(target: Target, ...switches: readonly string[]): Promise<Repository> {
    const repository = new Repository(target, switches);
    repository.git('init', '--quiet', '--initial-branch=main');
    writeFileSync(join(repository.dir, 'file'), 'one');
    repository.git('add', 'file');
    repository.git('commit', '--quiet', '-m', 'one');
    await repository.restart();
    return repository;
  }

  async restart(): Promise<void> {
    await this.#server?.stop();
    this.#server = await this.#target.start({ scratch: this.scratch, agent: this.#agent });
  }

  get dir(): string {
    return this.scratch.workspaces[0] ?? '';
  }

  get base(): string {
    return this.#server?.baseUrl ?? '';
  }

  git(...args: readonly string[]): string {
    const who = ['-c', 'user.name=t', '-c', 'user.email=t@localhost', '-c', 'commit.gpgsign=false'];
    // Not the runner's environment: a GIT_DIR in it would lead to another repository.
    const { env } = this.scratch;
    return execFileSync('git', [...who, ...args], {
      cwd: this.dir,
      env,
      encoding: 'utf8',
      stdio: 'pipe',
    }).trim();
  }

  get branches(): string[] {
    return this.git('for-each-ref', '--format=%(refname:short)', 'refs/heads').split('\n');
  }

  async create(json: object): Promise<Answer> {
    const answer = await call(this.base, 'POST', '/session', { json: { cwd: this.dir, ...json } });
    validateAnswer(operationOf('POST', '/session').name, answer.status, answer.json, answer.headers);
    return answer;
  }

  /** Where the agent says that it works. */
  async where(sessionId: string, clientId: string): Promise<string> {
    const prompt = await sendPrompt(this.base, sessionId, 'where', clientId);
    const stream = await streamFrom(this.base, sessionId, prompt);
    await stream.settled(prompt.promptId);
    const said = stream.ofType('session_update').map(({ data }) => JSON.stringify(data));
    stream.close();
    return /cwd: ([^"]*)/.exec(said.join())?.[1] ?? '';
  }
}

withGit.each(TARGETS)(`a worktree on %s${whyNot}`, (_name, target) => {
  test('is where the session works, under a branch of its own, and no change of the workspace', async () => {
    const on = await Repository.start(target);
    const { json } = await on.create({ worktree: { slug: 'fix' } });
    const path = join(on.dir, '.qwen/worktrees/fix');
    const worktree = { slug: 'fix', path, branch: 'worktree-fix' };
    expect(json).toMatchObject({ worktree, currentCwd: path, workspaceCwd: on.dir, attached: false });
    expect(existsSync(join(path, 'file'))).toBe(true);
    expect([on.branches, on.git('status', '--porcelain')]).toEqual([['main', 'worktree-fix'], '']);
    expect(await on.where(String(json.sessionId), String(json.clientId))).toBe(path);
    const status = await call(on.base, 'GET', `/session/${json.sessionId}/status`);
    expect(status.json).toMatchObject({ worktree });
    const other = await on.create({ worktree: {} });
    expect((other.json.worktree as { slug: string }).slug).toMatch(/^session-[0-9a-f]{8}$/);
    const again = await on.create({ worktree: { slug: 'fix' } });
    expect([again.status, again.json.code]).toEqual([500, 'worktree_create_failed']);
  });

  test('is where the session goes on after a restart, and is not replaced when it is gone', async () => {
    const on = await Repository.start(target);
    const { json } = await on.create({ worktree: { slug: 'kept' } });
    const [id, clientId] = [String(json.sessionId), String(json.clientId)];
    await on.where(id, clientId);
    await on.restart();
    const loaded = await call(on.base, 'POST', `/session/${id}/load`, { json: {} });
    expect([loaded.status, loaded.json.worktree]).toEqual([200, json.worktree]);
    expect(await on.where(id, String(loaded.json.clientId))).toBe(json.currentCwd);
    await call(on.base, 'DELETE', `/session/${id}`);
    rmSync(String(json.currentCwd), { recursive: true });
    const refused = await call(on.base, 'POST', `/session/${id}/load`, { json: {} });
    expect([refused.status, refused.json.code]).toEqual([409, 'worktree_missing']);
  });

  test('of one name asked for twice at once is made once, and the one that is refused harms it not', async () => {
    const on = await Repository.start(target);
    const both = await Promise.all([1, 2].map(() => on.create({ worktree: { slug: 'same' } })));
    expect(both.map(({ status }) => status).sort()).toEqual([200, 500]);
    expect(existsSync(join(on.dir, '.qwen/worktrees/same/file'))).toBe(true);
    expect(on.branches).toEqual(['main', 'worktree-same']);
  });

  test('is taken back with its branch when the agent makes no session', async () => {
    const on = await Repository.start(target, '--no-new');
    expect((await on.create({ worktree: { slug: 'vain' } })).status).toBe(500);
    expect(existsSync(join(on.dir, '.qwen/worktrees/vain'))).toBe(false);
    expect(on.branches).toEqual(['main']);
  });
});

withGit.each(TARGETS)(`a branch on %s${whyNot}`, (_name, target) => {
  test('is checked out in the workspace, for one session at a time', async () => {
    const on = await Repository.start(target);
    const { json } = await on.create({ branch: { name: 'feat/x' } });
    expect(json).toMatchObject({ branch: { name: 'feat/x', baseBranch: 'main' }, attached: false });
    expect(on.git('symbolic-ref', '--short', 'HEAD')).toBe('feat/x');
    const second = await on.create({ branch: { name: 'feat/y' } });
    expect([second.status, second.json.code, second.json.existingSessionId]).toEqual([
      409,
      'branch_session_conflict',
      json.sessionId,
    ]);
    await call(on.base, 'DELETE', `/session/${json.sessionId}`, {
      headers: clientHeader(String(json.clientId)),
    });
    expect((await on.create({ branch: { name: 'feat/x' } })).json.code).toBe('branch_already_exists');
    writeFileSync(join(on.dir, 'file'), 'two');
    expect((await on.create({ branch: { name: 'feat/y' } })).json.code).toBe('branch_dirty_tree');
    expect(on.branches).toEqual(['feat/x', 'main']);
  });

  test('is refused while another one is on its way', async () => {
    const on = await Repository.start(target, '--slow-new', '1200');
    const both = await Promise.all(['one', 'two'].map((name) => on.create({ branch: { name } })));
    expect(both.map(({ json }) => json.code ?? 'made').sort()).toEqual(['branch_session_conflict', 'made']);
    expect(on.branches).toHaveLength(2);
  });

  test('is refused where others work in the checkout, but not where they have worktrees', async () => {
    const on = await Repository.start(target);
    await on.create({ worktree: { slug: 'apart' } });
    const { sessionId, clientId } = await newSession(on.base, on.dir);
    const refused = await on.create({ branch: { name: 'b' } });
    expect([refused.json.code, refused.json.existingSessionId]).toEqual([
      'branch_session_conflict',
      sessionId,
    ]);
    await call(on.base, 'POST', `/session/${sessionId}/detach`, {
      headers: clientHeader(clientId),
      json: {},
    });
    expect((await on.create({ branch: { name: 'b' } })).status).toBe(200);
  });

  test('is taken back when the agent makes no session', async () => {
    const on = await Repository.start(target, '--no-new');
    expect((await on.create({ branch: { name: 'vain' } })).status).toBe(500);
    expect([on.branches, on.git('symbolic-ref', '--short', 'HEAD')]).toEqual([['main'], 'main']);
  });
});
