import { expect, test } from '@jest/globals';
import type { Session } from '../../../daemon/session.ts';
import { SingleSlot } from '../../../daemon/single-slot.ts';

const sessionWith = (sessionId: string, hasEnded: boolean) =>
  ({ sessionId, hasEnded, channel: { isDying: false } }) as Session;

test('a session that ended before its spawn was over leaves the slot to a restore', async () => {
  const [ended, restored] = [sessionWith('ended', true), sessionWith('restored', false)];
  const slot = new SingleSlot((id) => [restored].find(({ sessionId }) => sessionId === id));
  await slot.obtain(async () => ({ session: ended, isModelApplied: undefined }));
  expect(slot.isFilledBy(ended)).toBe(false);
  slot.hold(Promise.resolve(restored));
  const { session } = await slot.obtain(() => Promise.reject(new Error('none is to be made')));
  expect(session.sessionId).toBe('restored');
  expect(slot.isFilledBy(restored)).toBe(true);
});
