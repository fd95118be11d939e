// Waiting with an AbortSignal: for a promise, or for some time.
import type { Clock } from '../../daemon/contract/clock.ts';

/** Settles as `work`, or rejects with the signal's reason as soon as `signal` aborts. `work` is not cancelled. */
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
