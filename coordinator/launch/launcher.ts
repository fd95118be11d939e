// The seam between "a daemon should run" and how it comes to run. `process.ts` is the embedded implementation;
// another one may hand daemons to a service manager. Nothing outside launch/ knows about processes or signals.

import type { BridgeSettings, ReadyLine } from '../../daemon/contract/handshake.ts';

export interface LaunchSpec {
  readonly workspaceId: string;
  /** Canonical workspace path. */
  readonly workspacePath: string;
  readonly incarnation: string;
  readonly socketPath: string;
  readonly secret: string;
  readonly bridge: BridgeSettings;
  /** The daemon's stdout and stderr are appended here. */
  readonly logPath: string;
  /** What the daemon may keep on disk. */
  readonly daemonStateDir: string;
  /** Program and first arguments in place of the configured ones: those of an earlier version. */
  readonly command?: readonly string[];
}

/** What is needed to find a daemon again after a restart of the coordinator. */
export interface DaemonMark {
  readonly incarnation: string;
  readonly bootId: string;
  readonly pid: number;
  /** Field 22 of /proc/pid/stat, 0 where there is no /proc. */
  readonly startTime: number;
  readonly socketPath: string;
  readonly secret: string;
}

/** What the daemon's cgroup tells of memory; null where it had none or the memory controller is not handed down to it. */
export interface MemoryEvidence {
  /** Processes of the daemon's tree that the kernel killed for want of memory. */
  readonly oomKills: number | null;
  /** The most that the whole tree ever used, file cache included. */
  readonly peakBytes: number | null;
}

/** What a launcher wrote down of a daemon that it has not seen end. */
export interface DaemonNote extends Omit<DaemonMark, 'pid' | 'startTime'> {
  readonly workspaceId: string;
  readonly workspacePath: string;
  readonly logPath: string;
  readonly createdAtMs: number;
  /** Null when no such process runs, or none can be looked for (no /proc). */
  readonly pid: number | null;
  readonly startTime: number | null;
}

/** What the database says of a noted daemon: it is in it, it is in it as ended, or it is not (or without its secret). */
export type NoteFate = 'known' | 'over' | 'lost';

export interface DaemonExit extends MemoryEvidence {
  /** Null when the exit was not observed by its parent (an adopted daemon) or it died by a signal. */
  readonly code: number | null;
  readonly signal: string | null;
  /** Last lines that the daemon wrote to its log, oldest first. */
  readonly lastLines: readonly string[];
  /** Descendants that were still alive and were ended with it. */
  readonly strays: number;
}

export interface DaemonProcess {
  readonly mark: DaemonMark;
  /** Settles once, after the daemon and every descendant are gone. Never rejects. */
  readonly exited: Promise<DaemonExit>;
  /** Asks the daemon to end (SIGTERM), kills its whole tree after `graceMs`. Idempotent; returns `exited`. */
  terminate(graceMs: number): Promise<DaemonExit>;
  /** Kills the whole tree at once. Returns when the signals are sent. */
  killNow(): void;
}

export interface Launch {
  readonly process: DaemonProcess;
  /** The daemon's ready line. Rejects with the daemon's own words, or with why there were none. */
  readonly ready: Promise<ReadyLine>;
}

/** What became of a daemon that an earlier coordinator started. */
export type Adoption =
  | { readonly verdict: 'alive'; readonly process: DaemonProcess }
  /** Proven dead; its strays, if any, were ended. */
  | ({ readonly verdict: 'gone'; readonly strays: number } & MemoryEvidence)
  /** The pid is alive but not proven ours: it is left alone. */
  | { readonly verdict: 'unverifiable'; readonly why: string };

export interface Launcher {
  /** @throws Error when no process could be made (socket path too long, out of processes). */
  start(spec: LaunchSpec): Launch;
  adopt(mark: DaemonMark): Promise<Adoption>;
  /**
   * Program and first arguments that the running process was started with, where the configured ones are different.
   * Undefined where they are the same, the process is gone, or there is no /proc.
   */
  otherCommandOf(mark: DaemonMark): readonly string[] | undefined;
  /** The daemons that were started here, were not seen to end, and are `lost` to the caller. Forgets those that are `over`. */
  list(fateOf: (incarnation: string) => NoteFate): readonly DaemonNote[];
  /** Last lines of a daemon's log, oldest first; empty when there is none. */
  logs(logPath: string, maxLines: number): readonly string[];
}
