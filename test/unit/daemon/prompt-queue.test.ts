import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { PromptQueue, promptText } from '../../../daemon/domain/prompt-queue.ts';

const prompt = (promptId: string) => ({
  promptId,
  clientId: undefined,
  content: [{ type: 'text', text: promptId }],
  request: {},
  queuedAtMs: 0,
  deadlineMs: undefined,
});

describe('prompt queue', () => {
  test('the first prompt runs at once, the next ones had to queue', () => {
    const queue = new PromptQueue(5);
    expect(queue.accept(prompt('a')).hadToQueue).toBe(false);
    expect(queue.startNext()?.promptId).toBe('a');
    expect(queue.accept(prompt('b')).hadToQueue).toBe(true);
    expect(queue.startNext()).toBeUndefined();
  });

  test('a prompt settles once', () => {
    const queue = new PromptQueue(5);
    queue.accept(prompt('a'));
    queue.startNext();
    expect(queue.settle('a')).toBe(true);
    expect(queue.settle('a')).toBe(false);
  });

  test('the cap counts the running prompt', () => {
    const queue = new PromptQueue(2);
    queue.accept(prompt('a'));
    queue.startNext();
    expect(queue.isFull).toBe(false);
    queue.accept(prompt('b'));
    expect(queue.isFull).toBe(true);
  });

  test('a cap of zero is none', () => {
    const queue = new PromptQueue(0);
    for (let i = 0; i < 100; i++) queue.accept(prompt(String(i)));
    expect(queue.isFull).toBe(false);
  });

  test('every accepted prompt leaves exactly once and in order, whatever happens', () => {
    const step = fc.oneof(
      fc.constant('accept' as const),
      fc.constant('start' as const),
      fc.constant('settle' as const),
      fc.nat(20).map((n) => ({ remove: n })),
      fc.constant('clear' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const queue = new PromptQueue(6);
        const left: string[] = [];
        const started: string[] = [];
        let accepted = 0;
        for (const action of steps) {
          if (action === 'accept' && !queue.isFull) queue.accept(prompt(String(accepted++)));
          if (action === 'start') {
            const next = queue.startNext();
            if (next !== undefined) started.push(next.promptId);
          }
          const running = queue.running?.promptId;
          if (action === 'settle' && running !== undefined && queue.settle(running)) left.push(running);
          if (typeof action === 'object') {
            const removed = queue.removeWaiting(String(action.remove));
            if (removed !== undefined) left.push(removed.promptId);
          }
          if (action === 'clear') left.push(...queue.clearWaiting().map((entry) => entry.promptId));
          expect(queue.size).toBeLessThanOrEqual(6);
        }
        const held = [queue.running, ...queue.waiting].flatMap((entry) => entry?.promptId ?? []);
        expect([...left, ...held].sort()).toEqual(
          Array.from({ length: accepted }, (_, i) => String(i)).sort(),
        );
        expect(started).toEqual([...started].sort((a, b) => Number(a) - Number(b)));
      }),
    );
  });

  test('the text of a prompt is its text blocks', () => {
    expect(promptText([{ type: 'text', text: 'a' }, { type: 'image' }, { type: 'text', text: 'b' }])).toBe(
      'a\nb',
    );
  });
});
