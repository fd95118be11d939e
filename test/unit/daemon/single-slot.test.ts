import { expect, test } from '@jest/globals';
import type { Session } from '../../../daemon/session/session.ts';
import { SingleSlot } from '../../../daemon/sessions/single-slot.ts';

const sessionWith = (sessionId: string, hasEnded: boolean) =>
  ({ sessionId, hasEnded, channel: { isDying: false } }) as Session;

test('a restore that fails while the slot is filled is no concern of the slot', async () => {
  const live = sessionWith('live', false);
  const slot = new SingleSlot({ find: () => live });
  await slot.obtain(async () => ({ session: live, isModelApplied: undefined }));
  const unhandled: unknown[] = [];
  const note = (error: unknown) => void unhandled.push(error);
  process.on('unhandledRejection', note);
  slot.reserve(Promise.reject(new Error('the agent lost it')));
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
  expect(slot.isFilledBy(live)).toBe(true);
});

test('a session that ended before its spawn was over leaves the slot to a restore', async () => {
  const [ended, restored] = [sessionWith('ended', true), sessionWith('restored', false)];
  const slot = new SingleSlot({ find: (id) => [restored].find(({ sessionId }) => sessionId === id) });
  await slot.obtain(async () => ({ session: ended, isModelApplied: undefined }));
  expect(slot.isFilledBy(ended)).toBe(false);
  slot.reserve(Promise.resolve(restored));
  const { session } = await slot.obtain(() => Promise.reject(new Error('none is to be made')));
  expect(session.sessionId).toBe('restored');
  expect(slot.isFilledBy(restored)).toBe(true);
});
