// The clock, an argument of every part that needs time: pure code gets numbers, other parts get a Clock, and only systemClock
// uses the timers and clocks of the runtime.

/** A timer that has been set. */
export interface Timer {
  /** Stops the timer. Safe to call twice or after it fired. */
  cancel(): void;
}

export interface Clock {
  /** Wall clock, epoch milliseconds. For times that a person or a client reads. */
  nowMs(): number;
  /** Monotonic milliseconds. For intervals and deadlines: it does not jump when the wall clock is set. */
  monotonicMs(): number;
  /** Calls `run` once after `delayMs`. The timer does not keep the process alive. */
  after(delayMs: number, run: () => void): Timer;
  /** Calls `run` every `periodMs` until cancelled. The timer does not keep the process alive. */
  every(periodMs: number, run: () => void): Timer;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, run) {
    const handle = setTimeout(run, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  every(periodMs, run) {
    const handle = setInterval(run, periodMs);
    handle.unref();
    return { cancel: () => clearInterval(handle) };
  },
};
