// Finding a daemon again that an earlier coordinator started: proven alive, proven dead, or left alone.
import { readlinkSync } from 'node:fs';
import { readProcStat } from '../../daemon/contract/proc.ts';
import { askIdentity, Unanswered } from '../upstream/identity.ts';
import { type Cgroups, type DaemonCgroup, findCgroup, NO_EVIDENCE } from './cgroup.ts';
import { daemonProcess, endStraysOf, pause, type SweepSettings } from './daemon-process.ts';
import { comparePid } from './identity.ts';
import type { Adoption, DaemonMark } from './launcher.ts';
import { bearsMark, findDaemon } from './process-tree.ts';

export interface AdoptSettings extends SweepSettings {
  readonly bootId: string;
  /** Where daemons may have cgroups; undefined where this process may not make any. */
  readonly cgroups: Cgroups | undefined;
  /** Period of the look at an adopted process: its exit cannot be waited for, it is no child of ours. */
  readonly pollMs: number;
  /** How long a process that has the right pid and start time may take to say its incarnation. */
  readonly identityTimeoutMs: number;
}

/**
 * Where the pid was never noted (pid 0: the coordinator died between the spawn and the note) the daemon is looked for by
 * its arguments and environment. Resolves `alive` also for a daemon that is about to end; its exit then comes soon.
 */
export async function adoptDaemon(noted: DaemonMark, settings: AdoptSettings): Promise<Adoption> {
  // No process outlives its kernel, and start times of another boot say nothing about any process of this one.
  if (noted.bootId !== settings.bootId) return { verdict: 'gone', strays: 0, ...NO_EVIDENCE };
  const mark = noted.pid === 0 ? markByIncarnation(noted) : noted;
  const verdict = mark === undefined ? 'mismatch' : comparePid(mark, settings.bootId);
  if (mark === undefined || verdict === 'mismatch') return buried(mark ?? noted, settings);
  // Without a start time (no /proc) the answer on the socket is all the proof there is; it decides alone.
  return proveBySocket(mark, settings);
}

async function buried(mark: DaemonMark, settings: AdoptSettings): Promise<Adoption> {
  return { verdict: 'gone', ...(await endStraysOf(mark, cgroupOf(mark, settings), settings)) };
}

function cgroupOf(mark: DaemonMark, { cgroups }: AdoptSettings): DaemonCgroup | undefined {
  return cgroups === undefined ? undefined : findCgroup(cgroups, mark);
}

function markByIncarnation(noted: DaemonMark): DaemonMark | undefined {
  const found = findDaemon(noted.incarnation);
  return found === undefined ? undefined : { ...noted, pid: found.pid, startTime: found.startTime };
}

/** Asks until the answer is right, the process is gone, or the time is up: a daemon may still be on its way to listen. */
async function proveBySocket(mark: DaemonMark, settings: AdoptSettings): Promise<Adoption> {
  const { clock, bootId, pollMs, identityTimeoutMs } = settings;
  const deadline = clock.monotonicMs() + identityTimeoutMs;
  let answered: Doubt | undefined;
  for (;;) {
    const found = await doubtAbout(mark, Math.max(pollMs, Math.ceil(deadline - clock.monotonicMs())));
    if (found === undefined) return { verdict: 'alive', process: observe(mark, settings) };
    if (comparePid(mark, bootId) === 'mismatch') return buried(mark, settings);
    // Silence does not take back a wrong answer: the last question has little time, and whoever answered may just be slow.
    if (!found.isSilence) answered = found;
    const doubt = answered ?? found;
    // With less than a period left the next question could only end as "no answer", and hide this one's reason.
    if (clock.monotonicMs() + pollMs >= deadline) {
      // It may be frozen, or its socket gone. Whoever follows it from now on finds out, by the thresholds for any daemon.
      if (doubt.isSilence && isMarked(mark)) return { verdict: 'alive', process: observe(mark, settings) };
      const why = `pid ${mark.pid} runs, but on ${mark.socketPath}: ${doubt.why}`;
      return { verdict: 'unverifiable', why };
    }
    await pause(clock, pollMs);
  }
}

/** Whether the process is the daemon by boot, pid, start time, arguments and environment, though it does not say so. */
function isMarked({ pid, startTime, incarnation }: DaemonMark): boolean {
  const stat = readProcStat(pid);
  return stat !== undefined && stat.startTime === startTime && bearsMark(stat, incarnation);
}

interface Doubt {
  readonly why: string;
  /** Nobody answered at all. */
  readonly isSilence: boolean;
}

/** Why the process is not proven to be the daemon; undefined when it is. */
async function doubtAbout(mark: DaemonMark, timeoutMs: number): Promise<Doubt | undefined> {
  try {
    const { incarnation, pid } = await askIdentity(
      { address: { kind: 'unix', path: mark.socketPath }, secret: mark.secret },
      timeoutMs,
    );
    if (incarnation === mark.incarnation && pid === mark.pid) return undefined;
    return { why: `${incarnation} with pid ${pid} answers instead of ${mark.incarnation}`, isSilence: false };
  } catch (error) {
    return { why: (error as Error).message, isSilence: error instanceof Unanswered };
  }
}

function observe(mark: DaemonMark, settings: AdoptSettings) {
  return daemonProcess({
    ...settings,
    mark,
    cgroup: cgroupOf(mark, settings),
    logPath: logPathOf(mark.pid),
    onDeath(report) {
      const poll = settings.clock.every(settings.pollMs, () => {
        if (comparePid(mark, settings.bootId) !== 'mismatch') return;
        poll.cancel();
        report(null, null);
      });
    },
  });
}

/** The mark does not say where the daemon logs, but its stdout does. */
function logPathOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/fd/1`);
  } catch {
    // No /proc, or gone this moment: its exit then comes without last lines.
    return undefined;
  }
}
