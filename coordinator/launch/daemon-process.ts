// A running daemon, started here or adopted, until it and everything that it left behind is gone.
import { rmSync } from 'node:fs';
import type { Clock, Timer } from '../../daemon/contract/clock.ts';
import type { Log } from '../../daemon/contract/log.ts';
import type { ProcStat } from '../../daemon/contract/proc.ts';
import type { DaemonExit, DaemonMark, DaemonProcess } from './launcher.ts';
import { tail } from './log-files.ts';
import { findTree, isStill, killMembers, signalProcess } from './process-tree.ts';

const LAST_LINES = 20;

/** Between two looks at processes that were killed and are not gone yet. */
const SWEEP_PERIOD_MS = 20;

export interface SweepSettings {
  readonly clock: Clock;
  readonly log: Log;
  /** How long killed processes may take to go; one in uninterruptible sleep must not hold `exited` for ever. */
  readonly sweepTimeoutMs: number;
}

export interface Observed extends SweepSettings {
  readonly mark: DaemonMark;
  /** Undefined when nobody knows where an adopted daemon logs. */
  readonly logPath: string | undefined;
  /** Calls back once, when the daemon process itself is dead. */
  readonly onDeath: (report: (code: number | null, signal: string | null) => void) => void;
}

export function daemonProcess(observed: Observed): DaemonProcess {
  const { mark, clock, log } = observed;
  // What was seen before a signal: whoever loses its parent by that signal is found in no later table.
  const remembered = new Map<number, ProcStat>();
  const strays = new Set<number>();
  let life: 'running' | 'terminating' | 'dead' = 'running';
  let killTimer: Timer | undefined;

  function lookAround(): ProcStat[] {
    for (const stat of findTree(mark, true)) remembered.set(stat.pid, stat);
    return [...remembered.values()];
  }

  function killStrays(): void {
    for (const { pid } of killMembers(lookAround())) strays.add(pid);
  }

  function killNow(): void {
    if (life === 'dead') return;
    if (life === 'running') holdEventLoopUntil(exited);
    life = 'terminating';
    lookAround();
    // The daemon first: alive, it would start its agent anew.
    signalProcess(mark, 'SIGKILL');
    killStrays();
  }

  async function settle(code: number | null, signal: string | null): Promise<DaemonExit> {
    life = 'dead';
    killTimer?.cancel();
    const sweep = () => {
      killStrays();
      return [...remembered.values()].filter(isStill);
    };
    await untilNothingIsLeft(sweep, mark, observed);
    removeSocket(mark.socketPath);
    const lastLines = observed.logPath === undefined ? [] : tail(observed.logPath, LAST_LINES);
    log.debug({ incarnation: mark.incarnation, code, signal, strays: strays.size }, 'daemon is gone');
    return { code, signal, lastLines, strays: strays.size };
  }

  const exited = new Promise<DaemonExit>((resolve) => {
    observed.onDeath((code, signal) => resolve(settle(code, signal)));
  });

  function terminate(graceMs: number): Promise<DaemonExit> {
    if (life !== 'running') return exited;
    life = 'terminating';
    holdEventLoopUntil(exited);
    lookAround();
    // The daemon alone: it ends its agent in order, which a signal to the whole tree would cut short.
    signalProcess(mark, 'SIGTERM');
    killTimer = clock.after(graceMs, () => {
      log.warn({ incarnation: mark.incarnation, graceMs }, 'daemon did not end in time and is killed');
      killNow();
    });
    return exited;
  }

  return { mark, exited, terminate, killNow };
}

/**
 * Ends what an unobserved daemon left behind and waits until it is gone. Its session id may be somebody else's by now,
 * so only its incarnation, together with the start time, proves a process to be its own.
 * @returns how many there were.
 */
export async function endStraysOf(mark: DaemonMark, settings: SweepSettings): Promise<number> {
  const ended = new Map<number, ProcStat>();
  const sweep = () => {
    for (const stat of killMembers(findTree(mark, false))) ended.set(stat.pid, stat);
    return [...ended.values()].filter(isStill);
  };
  await untilNothingIsLeft(sweep, mark, settings);
  removeSocket(mark.socketPath);
  return ended.size;
}

function removeSocket(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // Its directory may be gone or changed by now. No later incarnation listens on this path, so it harms nobody.
  }
}

/** Sweeps again until a whole pass finds nothing: a process may fork while the table is read. */
async function untilNothingIsLeft(
  sweep: () => readonly ProcStat[],
  { incarnation }: DaemonMark,
  { clock, log, sweepTimeoutMs }: SweepSettings,
): Promise<void> {
  const deadline = clock.monotonicMs() + sweepTimeoutMs;
  let left = sweep();
  while (left.length > 0 && clock.monotonicMs() < deadline) {
    await pause(clock, SWEEP_PERIOD_MS);
    left = sweep();
  }
  if (left.length > 0)
    log.error({ incarnation, pids: left.map(({ pid }) => pid) }, 'killed processes of a daemon do not end');
}

/** Waits, and keeps the process running meanwhile. */
export function pause(clock: Clock, delayMs: number): Promise<void> {
  const waited = new Promise<void>((resolve) => {
    clock.after(delayMs, resolve);
  });
  holdEventLoopUntil(waited);
  return waited;
}

/**
 * Timers of the clock and the child's handle let the process end. While a daemon is being ended that must not happen:
 * the coordinator's own stop waits for it with nothing else left to do. The interval itself does nothing.
 */
function holdEventLoopUntil(done: Promise<unknown>): void {
  const hold = setInterval(() => undefined, 2 ** 30);
  const release = () => clearInterval(hold);
  done.then(release, release);
}
