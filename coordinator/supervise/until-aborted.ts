// Waits that end early when a signal aborts.
import type { Clock } from '../../daemon/contract/clock.ts';

/** `work`'s outcome, or a rejection with the signal's reason as soon as `signal` aborts. The work itself goes on. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** Resolves after `pauseMs`, or as soon as `signal` aborts. Never rejects. */
export function pauseUnlessAborted(clock: Clock, pauseMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const over = () => {
      timer.cancel();
      signal.removeEventListener('abort', over);
      resolve();
    };
    const timer = clock.after(pauseMs, over);
    signal.addEventListener('abort', over);
  });
}
