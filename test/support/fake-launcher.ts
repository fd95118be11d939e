// Daemons without processes: a test says when one becomes ready and how it ends, and reads what was done to it.

import type {
  Adoption,
  DaemonExit,
  DaemonMark,
  DaemonNote,
  DaemonProcess,
  Launch,
  Launcher,
  LaunchSpec,
  NoteFate,
} from '../../coordinator/launch/launcher.ts';
import type { ReadyLine } from '../../daemon/contract/handshake.ts';

export const CLEAN_EXIT: DaemonExit = {
  code: 0,
  signal: null,
  lastLines: [],
  strays: 0,
  oomKills: null,
  peakBytes: null,
};

/** What `adopt` says of a process that ended and left nothing. */
export const GONE: Adoption = { verdict: 'gone', strays: 0, oomKills: null, peakBytes: null };

export class FakeProcess implements DaemonProcess {
  readonly mark: DaemonMark;
  readonly exited: Promise<DaemonExit>;
  readonly ready: Promise<ReadyLine>;
  isAlive = true;
  /** Grace of each `terminate` call. */
  readonly terminations: number[] = [];
  kills = 0;
  /** Called at each `terminate` and `killNow`, before anything happens. */
  onSignal: (process: FakeProcess) => void = () => {};
  /** Ends at once when it is terminated. */
  endsWhenAsked = false;
  #settleExit!: (exit: DaemonExit) => void;
  #settleReady!: (line: ReadyLine) => void;
  #refuseReady!: (error: Error) => void;

  constructor(mark: DaemonMark) {
    this.mark = mark;
    this.exited = new Promise((resolve) => {
      this.#settleExit = resolve;
    });
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = resolve;
      this.#refuseReady = reject;
    });
    // An adopted process has nobody who awaits its ready line.
    this.ready.catch(() => {});
  }

  /** Sends the ready line. */
  listen(version = '1.0.0'): void {
    const { pid, startTime, socketPath, incarnation } = this.mark;
    this.#settleReady({ ready: true, contract: 1, pid, startTime, socket: socketPath, incarnation, version });
  }

  refuse(words: string): void {
    this.#refuseReady(new Error(words));
  }

  exit(exit: Partial<DaemonExit> = {}): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.#refuseReady(new Error('the daemon ended before it was ready'));
    this.#settleExit({ ...CLEAN_EXIT, ...exit });
  }

  terminate(graceMs: number): Promise<DaemonExit> {
    this.onSignal(this);
    this.terminations.push(graceMs);
    if (this.endsWhenAsked) this.exit();
    return this.exited;
  }

  killNow(): void {
    this.onSignal(this);
    this.kills += 1;
    this.exit({ code: null, signal: 'SIGKILL' });
  }
}

export class FakeLauncher implements Launcher {
  readonly specs: LaunchSpec[] = [];
  readonly processes: FakeProcess[] = [];
  /** What `adopt` finds, by incarnation; `gone` when nothing is set. */
  readonly adoptions = new Map<string, Adoption | Promise<Adoption>>();
  /** What `list` tells. */
  notes: readonly DaemonNote[] = [];
  /** What `otherCommandOf` tells of every process. */
  otherCommand: readonly string[] | undefined;
  /** Makes the next `start` throw. */
  startError: Error | undefined;
  onStart: (process: FakeProcess) => void = () => {};
  #nextPid = 1000;

  start(spec: LaunchSpec): Launch {
    if (this.startError !== undefined) throw this.startError;
    this.#nextPid += 1;
    const { incarnation, socketPath, secret } = spec;
    const mark = { incarnation, bootId: 'boot', pid: this.#nextPid, startTime: 7, socketPath, secret };
    const process = new FakeProcess(mark);
    this.specs.push(spec);
    this.processes.push(process);
    this.onStart(process);
    return { process, ready: process.ready };
  }

  adopt(mark: DaemonMark): Promise<Adoption> {
    return Promise.resolve(this.adoptions.get(mark.incarnation) ?? GONE);
  }

  list(fateOf: (incarnation: string) => NoteFate): readonly DaemonNote[] {
    return this.notes.filter(({ incarnation }) => fateOf(incarnation) === 'lost');
  }

  otherCommandOf(): readonly string[] | undefined {
    return this.otherCommand;
  }

  logs(): readonly string[] {
    return ['last line'];
  }

  /** The process that was started last. */
  get last(): FakeProcess {
    const process = this.processes.at(-1);
    if (process === undefined) throw new Error('nothing was started');
    return process;
  }

  get alive(): readonly FakeProcess[] {
    return this.processes.filter(({ isAlive }) => isAlive);
  }
}
