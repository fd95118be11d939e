// Which directory a `cwd` or a selector means (protocol 2.3, 3.1 and 10).
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { workspaceIdOf } from '../../../daemon/contract/canonical-path.ts';
import { endFleets, type Server } from '../../support/fleet-process.ts';
import { TARGETS } from '../../support/targets.ts';
import { type Answer, call, newSession } from '../../support/wire-client.ts';

const isRoot = process.getuid?.() === 0;

afterAll(endFleets);

describe.each(TARGETS)('%s', (_name, target) => {
  let server: Server;
  const create = (cwd: unknown) => call(server.baseUrl, 'POST', '/session', { json: { cwd } });

  beforeAll(async () => {
    server = await target.start();
  });

  function expectMismatch(answer: Answer, requested: string): void {
    expect(answer.status).toBe(400);
    expect(answer.json).toMatchObject({
      code: 'workspace_mismatch',
      boundWorkspace: server.workspace,
      requestedWorkspace: requested,
    });
    expect(answer.json.workspaceCount).toBe(target.isFleet ? 2 : undefined);
  }

  function expectPlainRefusal(answer: Answer, words: string): void {
    expect([answer.status, answer.json.code]).toEqual([400, undefined]);
    expect(answer.json.error).toContain(words);
  }

  test.each([['relative'], ['relative/path'], ['.'], ['']])(
    'a relative cwd is 400 without a code: %j',
    async (cwd) => {
      expectPlainRefusal(await create(cwd), 'absolute path');
    },
  );

  test.each([[17], [true], [{}], [['/']]])(
    'a cwd that is no string is 400 without a code: %j',
    async (cwd) => {
      expectPlainRefusal(await create(cwd), 'string');
    },
  );

  test('a cwd of over 4096 characters is 400 without a code', async () => {
    expectPlainRefusal(await create(`/${'x'.repeat(4096)}`), '4096');
  });

  test('a cwd with a NUL is refused', async () => {
    expect((await create(`${server.workspace}\0`)).status).toBe(400);
  });

  test('a sub-directory of a workspace is a mismatch', async () => {
    const path = join(server.workspace, 'sub');
    mkdirSync(path, { recursive: true });
    expectMismatch(await create(path), path);
  });

  test('a directory that does not exist is a mismatch that names it', async () => {
    const path = join(server.scratch.dir, 'nowhere');
    expectMismatch(await create(path), path);
  });

  test('a symlink to the workspace is the workspace', async () => {
    const link = join(server.scratch.dir, 'link');
    symlinkSync(server.workspace, link);
    const answer = await create(link);
    expect([answer.status, answer.json.workspaceCwd]).toEqual([200, server.workspace]);
  });

  test('a path with dots and double slashes is the workspace that it leads to', async () => {
    const answer = await create(`${server.scratch.dir}//ws-1/../ws-1/.`);
    expect(answer.json.workspaceCwd).toBe(server.workspace);
  });

  test('no cwd means the primary workspace', async () => {
    expect((await create(undefined)).json.workspaceCwd).toBe(server.workspace);
  });

  test('a loop of symlinks is 400 naming the path and ELOOP', async () => {
    const path = join(server.scratch.dir, 'loop');
    symlinkSync(path, path);
    expectPlainRefusal(await create(path), `"${path}": ELOOP`);
  });

  test('a name that is too long is 400 naming ENAMETOOLONG', async () => {
    expectPlainRefusal(await create(join(server.scratch.dir, 'x'.repeat(300))), 'ENAMETOOLONG');
  });

  test('a path through a file is 400 naming the path and ENOTDIR', async () => {
    const file = join(server.scratch.dir, 'file');
    writeFileSync(file, '');
    const path = join(file, 'below');
    expectPlainRefusal(await create(path), `"${path}": ENOTDIR`);
  });

  // To root every directory is open.
  (isRoot ? test.skip : test)(
    'a path behind a closed directory is 400 naming the path and EACCES',
    async () => {
      const closed = join(server.scratch.dir, 'closed');
      mkdirSync(join(closed, 'inner'), { recursive: true });
      chmodSync(closed, 0o000);
      try {
        const path = join(closed, 'inner');
        expectPlainRefusal(await create(path), `"${path}": EACCES`);
      } finally {
        chmodSync(closed, 0o700);
      }
    },
  );

  test('sessions are listed by workspace id and by encoded path, on both routes', async () => {
    const { sessionId } = await newSession(server.baseUrl);
    const selectors = [workspaceIdOf(server.workspace), encodeURIComponent(server.workspace)];
    for (const selector of selectors)
      for (const route of ['workspace', 'workspaces']) {
        const { status, json } = await call(server.baseUrl, 'GET', `/${route}/${selector}/sessions`);
        expect(status).toBe(200);
        expect(json.sessions).toContainEqual(
          expect.objectContaining({ sessionId, workspaceCwd: server.workspace, isArchived: false }),
        );
      }
  });

  test('a selector is decoded once', async () => {
    const twice = encodeURIComponent(encodeURIComponent(server.workspace));
    const answer = await call(server.baseUrl, 'GET', `/workspace/${twice}/sessions`);
    expect([answer.status, answer.json.code]).toEqual([400, undefined]);
  });

  test('a selector that is neither id nor absolute path has a code on the plural route only', async () => {
    expectPlainRefusal(await call(server.baseUrl, 'GET', '/workspace/relative/sessions'), '');
    expectMismatch(await call(server.baseUrl, 'GET', '/workspaces/relative/sessions'), 'relative');
  });

  test('an unknown selector is a mismatch', async () => {
    const path = join(server.scratch.dir, 'other');
    const answer = await call(server.baseUrl, 'GET', `/workspace/${encodeURIComponent(path)}/sessions`);
    expectMismatch(answer, path);
    expectMismatch(
      await call(server.baseUrl, 'GET', '/workspace/0123456789abcdef/sessions'),
      '0123456789abcdef',
    );
  });

  test.each([
    ['cursor=%3F%3F', 'invalid_cursor'],
    ['archiveState=deleted', 'invalid_archive_state'],
    ['view=tree', 'invalid_session_view'],
    ['group=x', 'invalid_session_group_filter'],
    ['parentSessionId=', 'invalid_parent_session_id'],
    ['parentSessionId=x&view=organized', 'invalid_parent_session_filter'],
    ['sourceId=x', 'invalid_session_source'],
    ['sourceType=X', 'invalid_session_source'],
  ])('a listing refuses %s with %s', async (query, code) => {
    const id = workspaceIdOf(server.workspace);
    const answer = await call(server.baseUrl, 'GET', `/workspace/${id}/sessions?${query}`);
    expect([answer.status, answer.json.code]).toEqual([400, code]);
  });

  test('a listing is cut into pages that lead through every session once', async () => {
    const made = await Promise.all(Array.from({ length: 5 }, () => newSession(server.baseUrl)));
    const path = `/workspace/${workspaceIdOf(server.workspace)}/sessions?size=2`;
    const seen: string[] = [];
    let cursor = '';
    for (let page = 0; page < 20; page += 1) {
      const { json } = await call(server.baseUrl, 'GET', `${path}${cursor}`);
      const sessions = json.sessions as readonly { readonly sessionId: string }[];
      expect(sessions.length).toBeLessThanOrEqual(2);
      seen.push(...sessions.map(({ sessionId }) => sessionId));
      if (json.nextCursor === undefined) break;
      cursor = `&cursor=${encodeURIComponent(String(json.nextCursor))}`;
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toEqual(expect.arrayContaining(made.map(({ sessionId }) => sessionId)));
  });
});
