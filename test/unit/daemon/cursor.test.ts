import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseCursor, planReplay } from '../../../daemon/domain/cursor.ts';

const epoch = (given?: string) => ({ given, current: 'now' });

describe('Last-Event-ID', () => {
  test.each([
    ['0', 0],
    ['17', 17],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ])('%s is a cursor', (text, value) => expect(parseCursor(text)).toBe(value));

  test.each(['-1', '1.5', 'abc', '', ' 7', '9007199254740992', '99999999999999999999', '0x10'])(
    '"%s" counts as absent',
    (text) => expect(parseCursor(text)).toBeUndefined(),
  );

  test('an absent header is no cursor', () => expect(parseCursor(undefined)).toBeUndefined());
});

describe('replay plan', () => {
  const ring = { head: 20, oldest: 11 };

  test('a cursor within the ring replays what follows it', () => {
    expect(planReplay(ring, 15, epoch())).toEqual({ from: 15 });
  });

  test('a cursor just before the oldest event loses nothing', () => {
    expect(planReplay(ring, 10, epoch())).toEqual({ from: 10 });
  });

  test('a cursor at the head replays nothing', () => {
    expect(planReplay(ring, 20, epoch('now'))).toEqual({ from: 20 });
  });

  test('a cursor whose next event is gone gets ring_evicted and what survives', () => {
    expect(planReplay(ring, 9, epoch())).toEqual({ from: 10, resync: { reason: 'ring_evicted' } });
  });

  test('a cursor beyond the head gets epoch_reset and the whole ring', () => {
    expect(planReplay(ring, 21, epoch())).toEqual({ from: 10, resync: { reason: 'epoch_reset' } });
  });

  test('another epoch gets epoch_reset with its detail, wherever the cursor is', () => {
    const resync = { reason: 'epoch_reset', detail: 'epoch_mismatch' };
    expect(planReplay(ring, 15, epoch('old'))).toEqual({ from: 10, resync });
    expect(planReplay(ring, 20, epoch('old'))).toEqual({ from: 10, resync });
  });

  test('a malformed epoch counts as absent', () => {
    expect(planReplay(ring, 15, epoch('not an epoch!'))).toEqual({ from: 15 });
  });

  test('an empty ring behind a moved head says that the replay was seeded elsewhere', () => {
    expect(planReplay({ head: 20, oldest: 21 }, 5, epoch())).toEqual({
      from: 20,
      resync: { reason: 'seeded_replay_not_in_ring' },
    });
  });

  test('the plan never starts before the ring and never after the head', () => {
    fc.assert(
      fc.property(fc.nat(50), fc.nat(50), fc.nat(120), fc.boolean(), (head, kept, cursor, isOther) => {
        const facts = { head, oldest: head - Math.min(kept, head) + 1 };
        const { from } = planReplay(facts, cursor, epoch(isOther ? 'old' : undefined));
        expect(from).toBeGreaterThanOrEqual(facts.oldest - 1);
        expect(from).toBeLessThanOrEqual(head);
      }),
    );
  });
});
