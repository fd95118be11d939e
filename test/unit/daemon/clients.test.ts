import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ClientRegistry } from '../../../daemon/domain/clients.ts';

describe('client registry', () => {
  test('an unknown id is replaced by a fresh one, a known one gains a reference', () => {
    const clients = new ClientRegistry();
    expect(clients.register('mine', 'minted-1', 1)).toBe('minted-1');
    expect(clients.register('minted-1', 'minted-2', 2)).toBe('minted-1');
    expect(clients.snapshot()).toEqual([{ clientId: 'minted-1', count: 2, lastSeenAtMs: 2 }]);
  });

  test('last-seen starts with the registration and never goes back', () => {
    const clients = new ClientRegistry();
    clients.register(undefined, 'a', 5);
    clients.touch('a', 3);
    expect(clients.snapshot()[0]?.lastSeenAtMs).toBe(5);
  });

  test('touching an unknown id makes no entry', () => {
    const clients = new ClientRegistry();
    clients.touch('ghost', 1);
    expect(clients.size).toBe(0);
  });

  test('changing a snapshot changes nothing in the registry', () => {
    const clients = new ClientRegistry();
    clients.register(undefined, 'a', 1);
    (clients.snapshot()[0] as { count: number }).count = 99;
    expect(clients.snapshot()[0]?.count).toBe(1);
  });

  test('entries go with their last reference: churn leaks nothing', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.constantFrom('a', 'b', 'c')), { maxLength: 100 }),
        (steps) => {
          const clients = new ClientRegistry();
          const model = new Map<string, number>();
          for (const [isJoin, id] of steps) {
            if (isJoin) {
              clients.register(id, id, 0);
              model.set(id, (model.get(id) ?? 0) + 1);
              continue;
            }
            const count = model.get(id) ?? 0;
            expect(clients.unregister(id)).toBe(count > 0);
            if (count <= 1) model.delete(id);
            else model.set(id, count - 1);
          }
          const held = clients.snapshot().map(({ clientId, count }) => [clientId, count]);
          expect(new Map(held as [string, number][])).toEqual(model);
        },
      ),
    );
  });
});
