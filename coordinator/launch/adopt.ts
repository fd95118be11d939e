// Adoption in the process launcher: finds the daemon that an earlier coordinator started and proves it alive or dead. What can
// be neither proven is left alone.
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
  /** Where the cgroups of daemons are; undefined where this coordinator may not make cgroups. */
  readonly cgroups: Cgroups | undefined;
  /** Time between two looks at an adopted daemon: it is no child of this coordinator, so its exit cannot be waited for. */
  readonly pollMs: number;
  /** How long a process with the noted pid and start time may take to answer the identity request on its socket. */
  readonly identityTimeoutMs: number;
}

/** A process that may be the noted daemon, and the secret for the identity request that proves it. */
export interface Suspect {
  readonly mark: DaemonMark;
  readonly secret: string;
}

/** As `Launcher.adopt`. A daemon whose mark has no pid is looked for in the process table, by its arguments and environment. */
export async function adoptDaemon(noted: Suspect, settings: AdoptSettings): Promise<Whereabouts> {
  const { mark } = noted;
  // No process outlives its kernel, and a start time of another boot says nothing about a process of this boot.
  if (mark.bootId !== settings.bootId) return goneFrom(mark, { strays: 0, ...NO_EVIDENCE });
  const suspect = mark.pid === 0 ? await findByIncarnation(noted, settings) : noted;
  if (suspect === undefined || comparePid(suspect.mark, settings.bootId) === 'mismatch')
    return bury(suspect?.mark ?? mark, settings);
  // Without a start time (no /proc) the identity answer on the socket is the only proof, so it decides alone.
  return proveBySocket(suspect, settings);
}

/** The address and the secret with which the daemon of this mark is asked: the unix socket that the mark names. */
export function reachOf({ mark, secret }: Suspect): Reach {
  return { address: { kind: 'unix', path: mark.socketPath }, secret };
}

/** The running daemon of the mark as a `DaemonProcess`: its exit is found by polling, because it is no child of this process. */
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

/**
 * Address and version of a daemon that another coordinator started, once it answers on its socket. Has no deadline.
 * @throws Error when the daemon ends before it answers.
 */
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

/**
 * Gives a mark without pid the pid and start time of its running daemon: from the process table, and where there is no such
 * table (macOS) from the identity answer on the daemon's socket. Undefined when no daemon of that incarnation is found.
 */
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

/**
 * Repeats the identity request on the suspect's socket, because the daemon may not listen yet: until the answer names the
 * incarnation and pid of the mark (`alive`), the process is gone (`gone`), or `identityTimeoutMs` is over.
 */
async function proveBySocket(suspect: Suspect, settings: AdoptSettings): Promise<Whereabouts> {
  const { mark } = suspect;
  const { clock, bootId, pollMs, identityTimeoutMs } = settings;
  const deadline = clock.monotonicMs() + identityTimeoutMs;
  let answered: Doubt | undefined;
  for (;;) {
    const found = await doubtAbout(suspect, Math.max(pollMs, Math.ceil(deadline - clock.monotonicMs())));
    if (found === undefined) return alive(suspect, settings);
    if (comparePid(mark, bootId) === 'mismatch') return bury(mark, settings);
    // A wrong answer counts also when later requests get none: the last request has little time, and the stranger may be slow.
    if (!found.isSilence) answered = found;
    const doubt = answered ?? found;
    // With less than `pollMs` left the next request could only end as "no answer", and hide the reason of this doubt.
    if (clock.monotonicMs() + pollMs >= deadline) {
      // The daemon may be frozen, or its socket gone: after adoption the health check finds that out, as for any daemon.
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

/** Whether the process is the daemon by its pid, start time, arguments and environment; for a process that does not answer. */
function isMarked({ pid, startTime, incarnation }: DaemonMark): boolean {
  const stat = readProcStat(pid);
  return stat !== undefined && stat.startTime === startTime && bearsMark(stat, incarnation);
}

interface Doubt {
  readonly why: string;
  /** No process answered the identity request; false when a process gave a wrong answer. */
  readonly isSilence: boolean;
}

/** One identity request: why its outcome does not prove the suspect to be the daemon; undefined when the answer proves it. */
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
