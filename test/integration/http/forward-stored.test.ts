// A prompt's 202 on its way through the coordinator: it waits for its record in the store.
import { afterEach, expect, test } from '@jest/globals';
import { FEED_SEQ_HEADER } from '../../../daemon/contract/control.ts';
import { Closers, fakeDaemon, front, send } from './fake-daemon.ts';

const closers = new Closers();
afterEach(() => closers.run());

/** A daemon that acknowledges every prompt with record 7, and a store whose answer the test gives. */
async function acknowledging({ isRemovable = true, path = '/session/s/prompt' } = {}) {
  const removed: string[] = [];
  const daemon = await fakeDaemon(closers, (req, res) => {
    req.resume();
    if (req.method === 'DELETE') {
      removed.push(req.url ?? '');
      res.end(JSON.stringify({ removed: isRemovable }));
      return;
    }
    res
      .writeHead(202, { [FEED_SEQ_HEADER]: '7', 'content-type': 'application/json' })
      .end('{"promptId":"p"}');
  });
  const asked: [string, number][] = [];
  let settle: { store: (isStored: boolean) => void; refuse: (error: Error) => void } | undefined;
  const isAsked = new Promise<void>((resolve) => {
    closers.add(() => settle?.store(false));
    settleWhenAsked = resolve;
  });
  const stored = (incarnation: string, seq: number) =>
    new Promise<boolean>((resolve, reject) => {
      asked.push([incarnation, seq]);
      settle = { store: resolve, refuse: reject };
      settleWhenAsked();
    });
  const { port } = await front(closers, daemon.endpoint, {}, { stored });
  const answer = send(port, path, { method: 'POST', body: '{}' });
  await isAsked;
  return { daemon, asked, answer, removed, settle: () => settle };
}

let settleWhenAsked: () => void = () => undefined;

test('it is passed on when the record is stored, and not before', async () => {
  const { daemon, asked, answer, settle } = await acknowledging();
  expect(asked).toEqual([[daemon.endpoint.incarnation, 7]]);
  const early = await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 50, 'held'))]);
  expect(early).toBe('held');
  settle()?.store(true);
  const { status, body, headers } = await answer;
  expect([status, body, headers[FEED_SEQ_HEADER]]).toEqual([202, '{"promptId":"p"}', undefined]);
});

test('it is passed on all the same where the store is slow: the turn runs', async () => {
  const { answer, removed, settle } = await acknowledging();
  settle()?.store(false);
  expect((await answer).status).toBe(202);
  expect(removed).toEqual([]);
});

test.each(['/session/s/prompt', '/session/s/prompt/', '/session/s/prompt?at=/session/other/x'])(
  '%s becomes a 507 where the store refuses, and nothing is left of the prompt',
  async (path) => {
    const { answer, removed, settle } = await acknowledging({ path });
    settle()?.refuse(new Error('disk full'));
    const { status, body, headers } = await answer;
    expect([status, JSON.parse(body).code]).toEqual([507, 'storage_unavailable']);
    expect(headers[FEED_SEQ_HEADER]).toBeUndefined();
    expect(removed).toEqual(['/session/s/pending-prompts/p']);
  },
);

test('it is passed on where the store refuses and the prompt has ended already', async () => {
  const { answer, settle } = await acknowledging({ isRemovable: false });
  settle()?.refuse(new Error('disk full'));
  const { status, body, headers } = await answer;
  expect([status, body, headers[FEED_SEQ_HEADER]]).toEqual([202, '{"promptId":"p"}', undefined]);
});

test('it becomes a 503 where the daemon has gone and the store knows nothing of the prompt', async () => {
  const { daemon, answer, settle } = await acknowledging();
  daemon.kill();
  await new Promise((resolve) => setTimeout(resolve, 50));
  settle()?.store(false);
  const { status, body, headers } = await answer;
  expect([status, JSON.parse(body).code]).toEqual([503, 'workspace_runtime_unavailable']);
  expect(headers['retry-after']).toBeDefined();
});

test('it is passed on where the daemon has gone and the record is stored: it will be reported', async () => {
  const { daemon, answer, settle } = await acknowledging();
  daemon.kill();
  await new Promise((resolve) => setTimeout(resolve, 50));
  settle()?.store(true);
  expect((await answer).status).toBe(202);
});
