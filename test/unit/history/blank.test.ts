import { afterEach, expect, test } from '@jest/globals';
import { TranscriptsKit } from './transcripts-kit.ts';

const kit = new TranscriptsKit();
afterEach(() => kit.remove());

test('a session is blank until something is said in it, whether or not its file was closed', () => {
  const isBlank = () => kit.store().find('s-1')?.isBlank === true;
  const first = kit.begin(kit.store());
  expect(isBlank()).toBe(true);
  kit.note(first, 'session_closed', { sessionId: 's-1' });
  first.change({ titleSource: 'auto' });
  first.close();
  expect(isBlank()).toBe(true);
  const second = kit.begin(kit.store());
  kit.update(second, 'user_message_chunk', 'hello');
  second.flush();
  expect(isBlank()).toBe(false);
  second.close();
  expect(isBlank()).toBe(false);
  const third = kit.begin(kit.store());
  third.close();
  expect(isBlank()).toBe(false);
});
