// A `DaemonProcess` of the process launcher: one running daemon, started or adopted, until it, its strays, socket, note and
// cgroup are gone.
import { rmSync } from 'node:fs';
import type { Clock, Timer } from '../../daemon/contract/clock.ts';
import type { Log } from '../../daemon/contract/log.ts';
import type { ProcStat } from '../../daemon/contract/proc.ts';
import { type DaemonCgroup, NO_EVIDENCE } from './cgroup.ts';
import { readHostOomKills } from './host-oom.ts';
import type { DaemonExit, DaemonProcess, MemoryEvidence } from './launcher.ts';
import { rotateIfLarge, tail } from './log-files.ts';
import { removeNote } from './notes.ts';
import { type DaemonMark, handleOf } from './process-handle.ts';
import { daemonCommandOf, findTree, isStill, killMembers, signalProcess } from './process-tree.ts';

/** How many last lines of a daemon's log are kept in its `DaemonExit`. */
export const LAST_LINES = 20;

/** How many rotated parts of a daemon's log are kept beside it. */
const KEPT_LOGS = 2;

/** Time between two looks at the processes of a daemon that were killed and are not gone yet. */
const SWEEP_PERIOD_MS = 20;

/** Time between two attempts to remove a daemon's cgroup. */
const REMOVE_PERIOD_MS = 2;

export interface SweepSettings {
  readonly clock: Clock;
  readonly log: Log;
  /** How long killed processes may take to go: a process in uninterruptible sleep must not keep `exited` open for ever. */
  readonly sweepTimeoutMs: number;
}

export interface ProcessSettings extends SweepSettings {
  /** Program and first arguments with which a daemon is started when its `LaunchSpec` names no `command`. */
  readonly daemonCommand: readonly string[];
  /** Size above which a daemon's log is rotated. */
  readonly maxLogBytes: number;
}

/** What `daemonProcess` needs of one running daemon. */
export interface Observed {
  readonly mark: DaemonMark;
  readonly settings: ProcessSettings;
  /** Undefined where the coordinator may not make cgroups, or the daemon was started without one. */
  readonly cgroup: DaemonCgroup | undefined;
  /** Calls back once, when the daemon process itself is dead. */
  readonly onDeath: (report: (code: number | null, signal: string | null) => void) => void;
}

export function daemonProcess(observed: Observed): DaemonProcess {
  const { mark, settings } = observed;
  const { daemonCommand, maxLogBytes } = settings;
  const life = new DaemonLife(observed);
  return {
    incarnation: mark.incarnation,
    handle: handleOf(mark),
    facts: { pid: mark.pid },
    exited: life.exited,
    terminate: (graceMs) => life.terminate(graceMs),
    killNow: () => life.killNow(),
    otherCommand() {
      const command = daemonCommandOf(mark.pid, mark.incarnation);
      return command?.join('\0') === daemonCommand.join('\0') ? undefined : command;
    },
    rotateLog: () => void rotateIfLarge(mark.logPath, maxLogBytes, KEPT_LOGS),
  };
}

/** The life of a daemon's process from now to its end, and the two ways to end it. */
class DaemonLife {
  readonly #observed: Observed;
  readonly #hostOomKillsBefore = readHostOomKills();
  /** Processes seen before a signal: a process that loses its parent by that signal may be missing from later tables. */
  readonly #remembered = new Map<number, ProcStat>();
  readonly #strays = new Set<number>();
  #state: 'running' | 'terminating' | 'dead' = 'running';
  #killTimer: Timer | undefined;
  /** As `DaemonProcess.exited`. */
  readonly exited: Promise<DaemonExit>;

  constructor(observed: Observed) {
    this.#observed = observed;
    this.exited = new Promise((resolve) => {
      observed.onDeath((code, signal) => resolve(this.#settle(code, signal)));
    });
  }

  /** As `DaemonProcess.terminate`. */
  terminate(graceMs: number): Promise<DaemonExit> {
    if (this.#state !== 'running') return this.exited;
    const { mark, settings } = this.#observed;
    this.#state = 'terminating';
    keepEventLoopUntil(this.exited);
    this.#lookAround();
    // Only the daemon is signalled: it shuts its agent down cleanly, which a signal to the whole tree would cut short.
    signalProcess(mark, 'SIGTERM');
    this.#killTimer = settings.clock.after(graceMs, () => {
      settings.log.warn({ incarnation: mark.incarnation, graceMs }, 'daemon did not end in time: killing it');
      this.killNow();
    });
    return this.exited;
  }

  /** As `DaemonProcess.killNow`. */
  killNow(): void {
    if (this.#state === 'dead') return;
    if (this.#state === 'running') keepEventLoopUntil(this.exited);
    this.#state = 'terminating';
    this.#lookAround();
    // The daemon is killed before its strays: a living daemon would restart its agent.
    signalProcess(this.#observed.mark, 'SIGKILL');
    this.#killStrays();
  }

  #lookAround(): ProcStat[] {
    const { mark, cgroup } = this.#observed;
    for (const stat of membersOf(mark, cgroup, true)) this.#remembered.set(stat.pid, stat);
    return [...this.#remembered.values()];
  }

  #killStrays(): void {
    for (const { pid } of killMembers(this.#lookAround())) this.#strays.add(pid);
    // After the strays are counted. Only when the daemon is dead or dying, because the daemon is in the cgroup too.
    if (this.#state !== 'running') this.#observed.cgroup?.kill();
  }

  async #settle(code: number | null, signal: string | null): Promise<DaemonExit> {
    const { mark, cgroup, settings } = this.#observed;
    this.#state = 'dead';
    this.#killTimer?.cancel();
    const sweep = () => {
      this.#killStrays();
      return [...this.#remembered.values()].filter(isStill);
    };
    await untilNothingIsLeft(sweep, mark, settings);
    removeTraces(mark.socketPath);
    const evidence = await closeCgroup(cgroup, mark, settings);
    const hostOomKills = oomKillsSince(this.#hostOomKillsBefore);
    const lastLines = tail(mark.logPath, LAST_LINES);
    const strays = this.#strays.size;
    settings.log.debug({ incarnation: mark.incarnation, code, signal, strays }, 'daemon is gone');
    return { code, signal, lastLines, strays, ...evidence, hostOomKills };
  }
}

/** Processes that the host's OOM killer ended since `before` was read; null where the kernel does not count. */
function oomKillsSince(before: number | null): number | null {
  const after = before === null ? null : readHostOomKills();
  return after === null || before === null ? null : after - before;
}

/**
 * Ends the processes that a dead daemon left behind, when nobody saw its death, and waits until they are gone. The daemon's
 * process session id may belong to other processes by now, so only the cgroup, or the incarnation together with the start time,
 * proves a process to be the daemon's.
 * @returns how many such processes were ended, and the memory evidence of the cgroup.
 */
export async function endStraysOf(
  mark: DaemonMark,
  cgroup: DaemonCgroup | undefined,
  settings: SweepSettings,
): Promise<{ readonly strays: number } & MemoryEvidence> {
  const ended = new Map<number, ProcStat>();
  const sweep = () => {
    for (const stat of killMembers(membersOf(mark, cgroup, false))) ended.set(stat.pid, stat);
    cgroup?.kill();
    return [...ended.values()].filter(isStill);
  };
  await untilNothingIsLeft(sweep, mark, settings);
  removeTraces(mark.socketPath);
  return { strays: ended.size, ...(await closeCgroup(cgroup, mark, settings)) };
}

/** The processes of the daemon's tree by the process table (`findTree`), and those that only the cgroup shows. */
function membersOf(mark: DaemonMark, cgroup: DaemonCgroup | undefined, isSessionKept: boolean): ProcStat[] {
  const tree = findTree(mark, isSessionKept);
  const known = new Set([mark.pid, ...tree.map(({ pid }) => pid)]);
  const others = cgroup?.members().filter(({ pid }) => !known.has(pid)) ?? [];
  return [...tree, ...others];
}

/**
 * Reads the memory evidence of the cgroup, then removes the cgroup. Tries for up to `sweepTimeoutMs`, because the cgroup hears of
 * its last process's end a millisecond late.
 */
async function closeCgroup(
  cgroup: DaemonCgroup | undefined,
  { incarnation }: DaemonMark,
  { clock, log, sweepTimeoutMs }: SweepSettings,
): Promise<MemoryEvidence> {
  if (cgroup === undefined) return NO_EVIDENCE;
  const evidence = cgroup.evidence();
  const deadline = clock.monotonicMs() + sweepTimeoutMs;
  while (!cgroup.remove()) {
    if (clock.monotonicMs() >= deadline) {
      log.error({ incarnation, cgroup: cgroup.path }, 'the cgroup of an ended daemon cannot be removed');
      break;
    }
    cgroup.kill();
    await pause(clock, REMOVE_PERIOD_MS);
  }
  return evidence;
}

function removeTraces(path: string): void {
  removeNote(path);
  try {
    rmSync(path, { force: true });
  } catch {
    // The runtime directory may be gone or changed. A socket that stays is harmless: no later daemon listens on its path.
  }
}

/** Runs `sweep` until it finds no process, because a process may fork while the table is read, or for `sweepTimeoutMs`. */
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
    log.error({ incarnation, pids: left.map(({ pid }) => pid) }, 'processes of a daemon survived SIGKILL');
}

/** Waits for `delayMs`. Node does not exit meanwhile, although the timers of `clock` alone would let it. */
export function pause(clock: Clock, delayMs: number): Promise<void> {
  const waited = new Promise<void>((resolve) => {
    clock.after(delayMs, resolve);
  });
  keepEventLoopUntil(waited);
  return waited;
}

/**
 * Keeps Node from exiting until `done` settles, by an interval that does nothing. Timers of the clock and the handle of a child
 * let Node exit, which must not happen while a daemon is being ended: then nothing else may be left for the coordinator to do.
 */
function keepEventLoopUntil(done: Promise<unknown>): void {
  const interval = setInterval(() => undefined, 2 ** 30);
  const stop = () => clearInterval(interval);
  done.then(stop, stop);
}
