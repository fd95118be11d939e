// The embedded launcher: a daemon is a detached child process that outlives the coordinator.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, mkdirSync, openSync } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';
import type { Duplex } from 'node:stream';
import {
  CONTRACT_VERSION,
  HANDSHAKE_FD,
  type HandshakeRequest,
  INCARNATION_ENV,
  type ReadyLine,
} from '../../daemon/contract/handshake.ts';
import { type AdoptSettings, adoptDaemon } from './adopt.ts';
import { type DaemonCgroup, encloseDaemon } from './cgroup.ts';
import { daemonProcess, pause } from './daemon-process.ts';
import { checkSocketPath } from './directories.ts';
import { acceptedReadyLine, exchange, HandshakeClosed } from './handshake-pipe.ts';
import { startTimeOf } from './identity.ts';
import type { DaemonMark, Launch, Launcher, LaunchSpec } from './launcher.ts';
import { tail } from './log-files.ts';
import { readNotes, writeNote } from './notes.ts';
import { daemonCommandOf, INCARNATION_FLAG } from './process-tree.ts';

/** Exit, last output and end of the pipe arrive in any order; this is how long the first waits for the others. */
const EXIT_AND_PIPE_APART_MS = 250;
const LAST_LINES_IN_MESSAGE = 5;
const DEFAULTS = { pollMs: 200, identityTimeoutMs: 5000, sweepTimeoutMs: 5000 };

export interface ProcessLauncherOptions
  extends Omit<AdoptSettings, keyof typeof DEFAULTS>,
    Partial<Pick<AdoptSettings, keyof typeof DEFAULTS>> {
  /** Program and arguments of a daemon; its incarnation is appended. Must not fork and exit. */
  readonly daemonCommand: readonly string[];
  /** The directory of the daemons' sockets. */
  readonly runtimeDir: string;
  /** From `strippedEnvironment`. */
  readonly env: Readonly<Record<string, string>>;
}

interface ChildExit {
  readonly code: number | null;
  readonly signal: string | null;
}

export function createProcessLauncher(options: ProcessLauncherOptions): Launcher {
  const settings = { ...DEFAULTS, ...options };
  return {
    start: (spec) => start(spec, settings),
    adopt: (mark) => adoptDaemon(mark, settings),
    otherCommandOf: (mark) => otherCommand(mark, settings.daemonCommand),
    list: (fateOf) => readNotes(settings.runtimeDir, fateOf),
    logs: tail,
  };
}

function otherCommand(
  { pid, incarnation }: DaemonMark,
  configured: readonly string[],
): readonly string[] | undefined {
  const command = daemonCommandOf(pid, incarnation);
  return command?.join('\0') === configured.join('\0') ? undefined : command;
}

type Settings = AdoptSettings & Pick<ProcessLauncherOptions, 'daemonCommand' | 'env'>;

/** `ready` never ends the process: whoever gives up on it calls `terminate`. */
function start(spec: LaunchSpec, settings: Settings): Launch {
  checkSocketPath(spec.socketPath);
  noteDown(spec, settings);
  const child = spawnDaemon(spec, settings);
  const exit = new Promise<ChildExit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const mark = markOf(child, spec, settings.bootId);
  const process = daemonProcess({
    ...settings,
    mark,
    cgroup: enclosed(mark, settings),
    logPath: spec.logPath,
    onDeath: (report) => void exit.then(({ code, signal }) => report(code, signal)),
  });
  const ready = readyLine(child, spec, exit, settings);
  // Whoever terminates a daemon before it is ready may never look at this.
  ready.catch(() => undefined);
  return { process, ready };
}

/** A daemon without a note is as good a daemon; only a lost database could not be rebuilt from it. */
function noteDown(spec: LaunchSpec, { bootId, clock, log }: Settings): void {
  try {
    writeNote(spec, bootId, clock.nowMs());
  } catch (error) {
    log.warn({ err: error, incarnation: spec.incarnation }, 'the note of a daemon could not be written');
  }
}

function spawnDaemon(spec: LaunchSpec, { daemonCommand, env, log }: Settings): ChildProcess {
  const [program, ...args] = spec.command ?? daemonCommand;
  if (program === undefined) throw new Error('the daemon command is empty');
  // spawn() tells about a missing program only later, and without a process there is nothing to wait for.
  if (isAbsolute(program)) accessSync(program, constants.X_OK);
  mkdirSync(dirname(spec.logPath), { recursive: true, mode: 0o700 });
  const logFd = openSync(spec.logPath, 'a', 0o600);
  try {
    const child = spawn(program, [...args, INCARNATION_FLAG, spec.incarnation], {
      // A session of its own: a terminal's Ctrl-C reaches only the coordinator. "/" keeps no directory busy.
      detached: true,
      cwd: '/',
      env: { ...env, [INCARNATION_ENV]: spec.incarnation },
      stdio: ['ignore', logFd, logFd, 'pipe'],
    });
    child.once('error', (error) => log.warn({ err: error, incarnation: spec.incarnation }, 'spawn failed'));
    if (child.pid === undefined)
      throw new Error(`cannot start a daemon: "${program}" is missing, or the host is at its process limit`);
    // A coordinator that leaves its daemons running must be able to end.
    child.unref();
    return child;
  } finally {
    closeSync(logFd);
  }
}

function markOf(child: ChildProcess, spec: LaunchSpec, bootId: string): DaemonMark {
  const { incarnation, socketPath, secret } = spec;
  const pid = child.pid ?? 0;
  // Not reaped before the event loop turns, so its row is in the process table even if it is dead already.
  return { incarnation, socketPath, secret, bootId, pid, startTime: startTimeOf(pid) };
}

/** A daemon without a cgroup is as good a daemon; only what hides from the process table could outlive it. */
function enclosed(mark: DaemonMark, { cgroups, log }: Settings): DaemonCgroup | undefined {
  if (cgroups === undefined) return undefined;
  try {
    return encloseDaemon(cgroups, mark);
  } catch (error) {
    log.warn({ err: error, incarnation: mark.incarnation }, 'daemon runs without its own cgroup');
    return undefined;
  }
}

async function readyLine(
  child: ChildProcess,
  spec: LaunchSpec,
  exit: Promise<ChildExit>,
  { clock }: Settings,
): Promise<ReadyLine> {
  const pipe = child.stdio[HANDSHAKE_FD] as Duplex;
  // A grandchild that inherited the descriptor would keep it open after the daemon's death.
  void exit.then(() => pause(clock, EXIT_AND_PIPE_APART_MS)).then(() => pipe.destroy());
  const request = handshakeRequest(spec);
  try {
    return acceptedReadyLine(await exchange(pipe, request), request, child.pid ?? 0);
  } catch (error) {
    if (!(error instanceof HandshakeClosed)) throw error;
    const ended = await Promise.race([exit, pause(clock, EXIT_AND_PIPE_APART_MS)]);
    throw ended === undefined ? error : new Error(deathWords(ended, spec.logPath));
  }
}

function deathWords({ code, signal }: ChildExit, logPath: string): string {
  const how = signal === null ? `exited with code ${code}` : `was killed by ${signal}`;
  const lines = tail(logPath, LAST_LINES_IN_MESSAGE);
  const said =
    lines.length === 0 ? `; its log ${logPath} is empty` : `; its last output:\n${lines.join('\n')}`;
  return `the daemon ${how} before it was ready${said}`;
}

function handshakeRequest(spec: LaunchSpec): HandshakeRequest {
  return {
    ...spec.bridge,
    contract: CONTRACT_VERSION,
    incarnation: spec.incarnation,
    workspace: spec.workspacePath,
    socket: spec.socketPath,
    secret: spec.secret,
    stateDir: spec.daemonStateDir,
  };
}
