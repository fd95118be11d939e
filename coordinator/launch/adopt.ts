// Finding a daemon again that an earlier coordinator started: proven alive, proven dead, or left alone.
import { readProcStat } from '../../daemon/contract/proc.ts';
import type { Reach } from '../upstream/address.ts';
import { askIdentity, Unanswered } from '../upstream/identity.ts';
import { type Cgroups, type DaemonCgroup, findCgroup, NO_EVIDENCE } from './cgroup.ts';
import { daemonProcess, endStraysOf, LAST_LINES, type ProcessSettings, pause } from './daemon-process.ts';
import { comparePid } from './identity.ts';
import type { DaemonProcess, Ready, Whereabouts } from './launcher.ts';
import { tail } from './log-files.ts';
import type { DaemonMark } from './process-handle.ts';
import { bearsMark, findDaemon } from './process-tree.ts';

export interface AdoptSettings extends ProcessSettings {
  readonly bootId: string;
  /** Where daemons may have cgroups; undefined where this coordinator may not make cgroups. */
  readonly cgroups: Cgroups | undefined;
  /** Period in which an adopted process is looked at: it is no child of this coordinator, so its exit cannot be waited for. */
  readonly pollMs: number;
  /** How long a process that has the right pid and start time may take to say its incarnation. */
  readonly identityTimeoutMs: number;
}

/** A process that may be the daemon, and the secret with which it is asked who it is. */
export interface Suspect {
  readonly mark: DaemonMark;
  readonly secret: string;
}

/** As `Launcher.adopt`. Where the mark has no pid the daemon is looked for by its arguments and environment. */
export async function adoptDaemon(noted: Suspect, settings: AdoptSettings): Promise<Whereabouts> {
  const { mark } = noted;
  // No process outlives its kernel, and start times of another boot say nothing about any process of this one.
  if (mark.bootId !== settings.bootId) return goneFrom(mark, { strays: 0, ...NO_EVIDENCE });
  const suspect = mark.pid === 0 ? await findByIncarnation(noted, settings) : noted;
  if (suspect === undefined || comparePid(suspect.mark, settings.bootId) === 'mismatch')
    return bury(suspect?.mark ?? mark, settings);
  // Without a start time (no /proc) the answer on the socket is the only proof, so it decides alone.
  return proveBySocket(suspect, settings);
}

/** Where the daemon of this mark answers. */
export function reachOf({ mark, secret }: Suspect): Reach {
  return { address: { kind: 'unix', path: mark.socketPath }, secret };
}

/** The running daemon, which can be ended and whose exit is seen from now on as if it were a child. */
export function observe(mark: DaemonMark, settings: AdoptSettings): DaemonProcess {
  return daemonProcess({
    mark,
    settings,
    cgroup: cgroupOf(mark, settings),
    onDeath(report) {
      const poll = settings.clock.every(settings.pollMs, () => {
        if (comparePid(mark, settings.bootId) !== 'mismatch') return;
        poll.cancel();
        report(null, null);
      });
    },
  });
}

/** The first word of a daemon that runs already. Waits for as long as the daemon runs. @throws Error when it ends before. */
export async function readyAgain(suspect: Suspect, settings: AdoptSettings): Promise<Ready> {
  const { clock, bootId, pollMs, identityTimeoutMs } = settings;
  const { address, secret } = reachOf(suspect);
  while (comparePid(suspect.mark, bootId) !== 'mismatch') {
    const identity = await askIdentity({ address, secret }, identityTimeoutMs).catch(() => undefined);
    if (identity?.incarnation === suspect.mark.incarnation) return { address, version: identity.version };
    await pause(clock, pollMs);
  }
  throw new Error('the daemon ended before it was ready');
}

async function bury(mark: DaemonMark, settings: AdoptSettings): Promise<Whereabouts> {
  return goneFrom(mark, await endStraysOf(mark, cgroupOf(mark, settings), settings));
}

function goneFrom(mark: DaemonMark, left: Awaited<ReturnType<typeof endStraysOf>>): Whereabouts {
  const lastLines = tail(mark.logPath, LAST_LINES);
  const unseen = { code: null, signal: null, hostOomKills: null };
  return { verdict: 'gone', hasRun: mark.pid !== 0, exit: { ...unseen, lastLines, ...left } };
}

function cgroupOf(mark: DaemonMark, { cgroups }: AdoptSettings): DaemonCgroup | undefined {
  return cgroups === undefined ? undefined : findCgroup(cgroups, mark);
}

/** Looks in the process table for the daemon, and where there is no table (macOS) asks the process on the daemon's socket. */
async function findByIncarnation(
  { mark, secret }: Suspect,
  { identityTimeoutMs }: AdoptSettings,
): Promise<Suspect | undefined> {
  const { incarnation } = mark;
  const found =
    findDaemon(incarnation) ??
    (await askIdentity(reachOf({ mark, secret }), identityTimeoutMs).catch(() => undefined));
  if (found === undefined || ('incarnation' in found && found.incarnation !== incarnation)) return undefined;
  return { mark: { ...mark, pid: found.pid, startTime: found.startTime }, secret };
}

/** Asks until the answer is right, the process is gone, or the time is up: the daemon may not listen yet. */
async function proveBySocket(suspect: Suspect, settings: AdoptSettings): Promise<Whereabouts> {
  const { mark } = suspect;
  const { clock, bootId, pollMs, identityTimeoutMs } = settings;
  const deadline = clock.monotonicMs() + identityTimeoutMs;
  let answered: Doubt | undefined;
  for (;;) {
    const found = await doubtAbout(suspect, Math.max(pollMs, Math.ceil(deadline - clock.monotonicMs())));
    if (found === undefined) return alive(suspect, settings);
    if (comparePid(mark, bootId) === 'mismatch') return bury(mark, settings);
    // Silence does not take back a wrong answer: the last question has little time, and the stranger may just be slow.
    if (!found.isSilence) answered = found;
    const doubt = answered ?? found;
    // With less than a period left the next question could only end as "no answer", and hide this one's reason.
    if (clock.monotonicMs() + pollMs >= deadline) {
      // The daemon may be frozen, or its socket gone: supervision finds that out by the thresholds for any daemon.
      if (doubt.isSilence && isMarked(mark)) return alive(suspect, settings);
      const why = `pid ${mark.pid} runs, but on ${mark.socketPath}: ${doubt.why}`;
      return { verdict: 'unverifiable', why, facts: { pid: mark.pid } };
    }
    await pause(clock, pollMs);
  }
}

function alive(suspect: Suspect, settings: AdoptSettings): Whereabouts {
  const { address } = reachOf(suspect);
  return { verdict: 'alive', process: observe(suspect.mark, settings), address };
}

/** Whether a process that does not answer is the daemon by its pid, start time, arguments and environment. */
function isMarked({ pid, startTime, incarnation }: DaemonMark): boolean {
  const stat = readProcStat(pid);
  return stat !== undefined && stat.startTime === startTime && bearsMark(stat, incarnation);
}

interface Doubt {
  readonly why: string;
  /** No process answered at all. */
  readonly isSilence: boolean;
}

/** Why the process is not proven to be the daemon; undefined when its answer proves it. */
async function doubtAbout(suspect: Suspect, timeoutMs: number): Promise<Doubt | undefined> {
  const { mark } = suspect;
  try {
    const { incarnation, pid } = await askIdentity(reachOf(suspect), timeoutMs);
    if (incarnation === mark.incarnation && pid === mark.pid) return undefined;
    return { why: `${incarnation} with pid ${pid} answers instead of ${mark.incarnation}`, isSilence: false };
  } catch (error) {
    return { why: (error as Error).message, isSilence: error instanceof Unanswered };
  }
}
