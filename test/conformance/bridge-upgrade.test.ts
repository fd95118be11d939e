// A daemon outlives the upgrade of its package: with every file of its installation gone, each of its routes still works.
import { cpSync, existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { eventually } from '../support/eventually.ts';
import type { Server } from '../support/fleet-process.ts';
import { openStream } from '../support/sse-stream.ts';
import { type Answer, call, clientHeader, newSession, sendPrompt } from '../support/wire-client.ts';

const BUILD = process.env.QWEN_TEST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));

const dir = mkdtempSync(join(realpathSync(tmpdir()), 'upgrade-'));
const copy = join(dir, 'dist');
cpSync(BUILD, copy, { recursive: true });
// Read when the support file is loaded, which is therefore not imported above.
process.env.QWEN_TEST_DIST = copy;
const { endFleets, startDaemon } = await import('../support/fleet-process.ts');

afterEach(async () => {
  await endFleets();
  rmSync(dir, { recursive: true, force: true });
});

interface Description {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** Calls every operation that the server describes once, on a live session. @returns the answers by operation. */
async function callEverything(base: string, sessionId: string): Promise<Record<string, Answer>> {
  const { json } = await call(base, 'GET', '/openapi.json');
  const answers: Record<string, Answer> = {};
  for (const [template, operations] of Object.entries((json as unknown as Description).paths))
    for (const method of Object.keys(operations).filter((name) => METHODS.includes(name))) {
      const isEnd = method === 'delete' && template === '/session/{id}';
      if (template.endsWith('/events') || isEnd) continue;
      const path = template
        .replace(/^\/session\/\{\w+\}/, `/session/${sessionId}`)
        .replace(/\{\w+\}/g, 'none');
      answers[`${method} ${template}`] = await call(base, method.toUpperCase(), path, { json: {} });
    }
  return answers;
}

/** A turn with a question on a stream, a vote, and the session's end. */
async function useSession(base: string): Promise<void> {
  const { sessionId, clientId } = await newSession(base);
  const headers = clientHeader(clientId);
  const stream = await openStream(base, sessionId, {
    query: '?snapshot=1',
    headers: { 'last-event-id': '0' },
  });
  await sendPrompt(base, sessionId, 'permission ; hello', clientId);
  const { data } = await stream.event('permission_request');
  const { requestId } = data as { requestId: string };
  const vote = await call(base, 'POST', `/permission/${requestId}`, {
    json: { outcome: { outcome: 'selected', optionId: 'allow' } },
    headers,
  });
  expect(vote.status).toBe(200);
  await stream.event('turn_complete');
  expect(stream.texts).toContain('echo: hello');
  const model = await call(base, 'POST', `/session/${sessionId}/model`, { json: { modelId: 'm2' }, headers });
  expect(model.status).toBe(200);
  expect((await call(base, 'DELETE', `/session/${sessionId}`, { headers })).status).toBe(204);
  expect(await stream.end).toBe('ended');
}

/** What it logged at the level of errors. */
const errorsOf = ({ stderr }: Server) => stderr.split('\n').filter((line) => /^\{"level":[56]0,/.test(line));

test('a daemon whose installation was removed serves every route, agents and all', async () => {
  const server = await startDaemon({ flags: ['--preload-after-ms', '50', '--log-level', 'debug'] });
  await eventually('what it loads ahead', () => server.stderr.includes('modules loaded'));
  rmSync(copy, { recursive: true });
  expect(existsSync(copy)).toBe(false);
  // The first agent of its life starts after the removal.
  await useSession(server.baseUrl);
  const { sessionId } = await newSession(server.baseUrl);
  const answers = await callEverything(server.baseUrl, sessionId);
  expect(Object.keys(answers).length).toBeGreaterThan(15);
  for (const [operation, answer] of Object.entries(answers))
    expect(`${operation}: ${answer.status} ${answer.text}`).not.toContain('Internal server error');
  expect(answers['get /session/{id}/status']?.status).toBe(200);
  await useSession(server.baseUrl);
  expect(errorsOf(server)).toEqual([]);
  expect(await server.stop()).toEqual({ code: 0, signal: null });
});
