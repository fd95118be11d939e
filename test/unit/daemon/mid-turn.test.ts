import { expect, test } from '@jest/globals';
import { MidTurnQueue } from '../../../daemon/domain/mid-turn.ts';

const message = (messageId: string) => ({ messageId, text: messageId, clientId: undefined, queuedAtMs: 0 });
const idsOf = (messages: readonly { readonly messageId: string }[]) =>
  messages.map(({ messageId }) => messageId);

function queueOf(...ids: string[]): MidTurnQueue {
  const queue = new MidTurnQueue();
  for (const id of ids) queue.add(message(id));
  return queue;
}

test('messages are drained in order, and once', () => {
  const queue = queueOf('a', 'b', 'c');
  expect(queue.size).toBe(3);
  expect(idsOf(queue.drain())).toEqual(['a', 'b', 'c']);
  expect([queue.size, queue.drain()]).toEqual([0, []]);
});

test('a message that was taken out is not drained, the others are', () => {
  const queue = queueOf('a', 'b', 'c');
  expect(queue.remove('b')).toMatchObject({ messageId: 'b' });
  expect(queue.remove('b')).toBeUndefined();
  expect(idsOf(queue.drain())).toEqual(['a', 'c']);
});

test('what was drained is not touched by what comes later', () => {
  const queue = queueOf('a');
  const drained = queue.drain();
  queue.add(message('b'));
  expect(idsOf(drained)).toEqual(['a']);
});
