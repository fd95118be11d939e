// The process launcher: makes each daemon as a detached child process, which outlives the coordinator.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, mkdirSync, openSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import type { Duplex } from 'node:stream';
import {
  CONTRACT_VERSION,
  HANDSHAKE_FD,
  type HandshakeRequest,
  INCARNATION_ENV,
} from '../../daemon/contract/handshake.ts';
import { type AdoptSettings, adoptDaemon, observe, readyAgain } from './adopt.ts';
import { type DaemonCgroup, encloseDaemon } from './cgroup.ts';
import { daemonProcess, pause } from './daemon-process.ts';
import { socketPathFor } from './directories.ts';
import { ForeignHandle } from './handle.ts';
import { acceptedReadyLine, exchange, HandshakeClosed } from './handshake-pipe.ts';
import { startTimeOf } from './identity.ts';
import type {
  KnownDaemon,
  Launch,
  Launcher,
  LaunchPlan,
  LaunchSpec,
  Ready,
  Whereabouts,
} from './launcher.ts';
import { tail } from './log-files.ts';
import { hasNote, readNotes, writeNote } from './notes.ts';
import { type DaemonMark, handleOf, markFor, markFrom, markIn } from './process-handle.ts';
import { findDaemon, INCARNATION_FLAG } from './process-tree.ts';

/** A daemon's exit and the end of its handshake pipe arrive in any order: how long one of them waits for the other. */
const EXIT_AND_PIPE_APART_MS = 250;
const LAST_LINES_IN_MESSAGE = 5;
const DEFAULTS = {
  pollMs: 200,
  identityTimeoutMs: 5000,
  sweepTimeoutMs: 5000,
  maxLogBytes: Number.POSITIVE_INFINITY,
};

export interface ProcessLauncherOptions
  extends Omit<AdoptSettings, keyof typeof DEFAULTS>,
    Partial<Pick<AdoptSettings, keyof typeof DEFAULTS>> {
  /** The directory of the daemons' sockets and notes. */
  readonly runtimeDir: string;
  /** Canonical path. Logs of daemons are in its `logs`, the files of a workspace's daemons in its `workspaces/<id>`. */
  readonly stateDir: string;
  /** Environment of every daemon, from `strippedEnvironment`. */
  readonly env: Readonly<Record<string, string>>;
}

type Settings = AdoptSettings & Pick<ProcessLauncherOptions, 'runtimeDir' | 'stateDir' | 'env'>;

interface ChildExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/**
 * The launcher that makes processes. A second `start` of a handle returns the daemon of the first: from a map when this launcher
 * started it, else, where a note says that an earlier coordinator did, from the process table. (Without /proc the daemon is not
 * found there; then a second process is made, which the workspace lock refuses.)
 */
export function createProcessLauncher(options: ProcessLauncherOptions): Launcher {
  const settings: Settings = { ...DEFAULTS, ...options };
  const launches = new Map<string, Launch>();
  return {
    plan: (plan) => handleOf(plannedMark(plan, settings)),
    start(handle, spec) {
      // A handle that was planned before a reboot starts a daemon of this boot.
      const mark = { ...markFrom(handle), bootId: settings.bootId };
      const known = launches.get(mark.incarnation);
      if (known !== undefined) return known;
      const launch = found(mark, spec, settings) ?? make(mark, spec, settings);
      launches.set(mark.incarnation, launch);
      void launch.process.exited.then(() => launches.delete(mark.incarnation));
      return launch;
    },
    adopt: (known) => adopt(known, settings),
    factsOf: (handle) => ({ pid: markIn(handle)?.pid || null }),
    lost: (fateOf) => readNotes(settings.runtimeDir, fateOf),
  };
}

function plannedMark(
  { workspaceId, incarnation }: LaunchPlan,
  { runtimeDir, stateDir, bootId }: Pick<Settings, 'runtimeDir' | 'stateDir' | 'bootId'>,
): DaemonMark {
  const socketPath = socketPathFor(runtimeDir, incarnation);
  const logPath = join(stateDir, 'logs', `${workspaceId}.log`);
  return { incarnation, bootId, socketPath, logPath, pid: 0, startTime: 0 };
}

async function adopt(
  { incarnation, handle, secret }: KnownDaemon,
  settings: AdoptSettings,
): Promise<Whereabouts> {
  try {
    return await adoptDaemon({ mark: markFor(incarnation, handle), secret }, settings);
  } catch (error) {
    if (!(error instanceof ForeignHandle)) throw error;
    return { verdict: 'unverifiable', why: error.message };
  }
}

/** The daemon that an earlier coordinator started from this handle, if it still runs. */
function found(planned: DaemonMark, { secret }: LaunchSpec, settings: AdoptSettings): Launch | undefined {
  const stat = hasNote(planned.socketPath) ? findDaemon(planned.incarnation) : undefined;
  if (stat === undefined) return undefined;
  const mark = { ...planned, pid: stat.pid, startTime: stat.startTime };
  const ready = readyAgain({ mark, secret }, settings);
  ready.catch(() => undefined);
  return { process: observe(mark, settings), ready };
}

/** Makes the daemon's process. @throws Error when the process cannot be made. */
function make(planned: DaemonMark, spec: LaunchSpec, settings: Settings): Launch {
  noteDown(planned, spec, settings);
  const child = spawnDaemon(planned, spec, settings);
  const exit = new Promise<ChildExit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const pid = child.pid ?? 0;
  // A child is not reaped before the event loop turns, so even a dead child still has its start time here.
  const mark = { ...planned, pid, startTime: startTimeOf(pid) };
  const process = daemonProcess({
    mark,
    settings,
    cgroup: enclosed(mark, settings),
    onDeath: (report) => void exit.then(({ code, signal }) => report(code, signal)),
  });
  const ready = firstWord(child, exit, { mark, spec, settings });
  // A caller that terminates the daemon before it is ready does not read the rejection, which must not end the coordinator.
  ready.catch(() => undefined);
  return { process, ready };
}

/** Writes the daemon's note. A failure is only logged: the note is needed only when the database is lost. */
function noteDown(mark: DaemonMark, spec: LaunchSpec, { clock, log }: Pick<Settings, 'clock' | 'log'>): void {
  try {
    writeNote(mark, spec, clock.nowMs());
  } catch (error) {
    log.warn({ err: error, incarnation: mark.incarnation }, 'the note of a daemon could not be written');
  }
}

function spawnDaemon(
  { incarnation, logPath }: DaemonMark,
  { command, workspaceId }: LaunchSpec,
  { daemonCommand, env, log, stateDir }: Pick<Settings, 'daemonCommand' | 'env' | 'log' | 'stateDir'>,
): ChildProcess {
  const [program, ...args] = command ?? daemonCommand;
  if (program === undefined) throw new Error('the daemon command is empty');
  // Checked here because spawn() reports a missing program only in a later event, and then there is no exit to wait for.
  if (isAbsolute(program)) accessSync(program, constants.X_OK);
  for (const directory of [dirname(logPath), keptDirOf(stateDir, workspaceId)])
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  const logFd = openSync(logPath, 'a', 0o600);
  try {
    const child = spawn(program, [...args, INCARNATION_FLAG, incarnation], {
      // `detached` makes a process session: a terminal's Ctrl-C reaches only the coordinator. "/" keeps no directory busy.
      detached: true,
      cwd: '/',
      env: { ...env, [INCARNATION_ENV]: incarnation },
      stdio: ['ignore', logFd, logFd, 'pipe'],
    });
    child.once('error', (error) => log.warn({ err: error, incarnation }, 'spawn failed'));
    if (child.pid === undefined)
      throw new Error(`cannot start a daemon: "${program}" is missing, or the host is at its process limit`);
    // The coordinator must be able to exit while its daemons run on.
    child.unref();
    return child;
  } finally {
    closeSync(logFd);
  }
}

/**
 * The daemon's cgroup, with the daemon in it. A failure is only logged: without a cgroup, only a process that hides from
 * `findTree` can outlive the daemon. Undefined after a failure, or where cgroups cannot be made.
 */
function enclosed(
  mark: DaemonMark,
  { cgroups, log }: Pick<Settings, 'cgroups' | 'log'>,
): DaemonCgroup | undefined {
  if (cgroups === undefined) return undefined;
  try {
    return encloseDaemon(cgroups, mark);
  } catch (error) {
    log.warn({ err: error, incarnation: mark.incarnation }, 'daemon runs without its own cgroup');
    return undefined;
  }
}

interface Begun {
  readonly mark: DaemonMark;
  readonly spec: LaunchSpec;
  readonly settings: Pick<Settings, 'clock' | 'stateDir'>;
}

/**
 * Does the handshake with the new daemon, and waits until it listens.
 * @throws Error with the daemon's refusal, or how it exited and its last output.
 */
async function firstWord(child: ChildProcess, exit: Promise<ChildExit>, begun: Begun): Promise<Ready> {
  const { clock } = begun.settings;
  const { socketPath, logPath, pid } = begun.mark;
  const pipe = child.stdio[HANDSHAKE_FD] as Duplex;
  // The daemon's exit closes the pipe here, because a child of the daemon that inherited the descriptor would keep it open.
  void exit.then(() => pause(clock, EXIT_AND_PIPE_APART_MS)).then(() => pipe.destroy());
  try {
    const request = handshakeRequest(begun);
    const { version } = acceptedReadyLine(await exchange(pipe, request), request, pid);
    return { address: { kind: 'unix', path: socketPath }, version };
  } catch (error) {
    if (!(error instanceof HandshakeClosed)) throw error;
    const ended = await Promise.race([exit, pause(clock, EXIT_AND_PIPE_APART_MS)]);
    throw ended === undefined ? error : new Error(deathWords(ended, logPath));
  }
}

function deathWords({ code, signal }: ChildExit, logPath: string): string {
  const how = signal === null ? `exited with code ${code}` : `was killed by ${signal}`;
  const lines = tail(logPath, LAST_LINES_IN_MESSAGE);
  const said =
    lines.length === 0 ? `; its log ${logPath} is empty` : `; its last output:\n${lines.join('\n')}`;
  return `the daemon ${how} before it was ready${said}`;
}

/** The directory for the files of the workspace's daemons, such as recordings. */
function keptDirOf(stateDir: string, workspaceId: string): string {
  return join(stateDir, 'workspaces', workspaceId);
}

function handshakeRequest({ mark, spec, settings }: Begun): HandshakeRequest {
  return {
    ...spec.bridge,
    contract: CONTRACT_VERSION,
    incarnation: mark.incarnation,
    workspace: spec.workspacePath,
    socket: mark.socketPath,
    secret: spec.secret,
    stateDir: keptDirOf(settings.stateDir, spec.workspaceId),
  };
}
