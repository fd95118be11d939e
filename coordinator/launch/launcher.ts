// The interface `Launcher`, by which the coordinator makes, finds and ends daemons. `process.ts` implements it with child
// processes; another launcher may use a service manager or a scheduler. Nothing outside launch/ knows processes, signals or logs.
import type { BridgeSettings } from '../../daemon/contract/handshake.ts';
import type { DaemonAddress } from '../upstream/address.ts';

/**
 * The text by which a launcher finds a daemon again, also after a restart of the coordinator. Only launchers write and read
 * handles (handle.ts). The store keeps them, also in backups, so a handle contains no credential.
 */
export type LaunchHandle = string;

/** The daemon for which `Launcher.plan` makes a handle. */
export interface LaunchPlan {
  readonly workspaceId: string;
  /** Name of the daemon; never used twice in one state directory. Daemons of another state directory may have the same name. */
  readonly incarnation: string;
}

/** What `Launcher.start` needs to start the daemon of a planned handle. */
export interface LaunchSpec extends LaunchPlan {
  /** Canonical workspace path. */
  readonly workspacePath: string;
  /** The secret that the daemon will demand of every request. */
  readonly secret: string;
  readonly bridge: BridgeSettings;
  /** Program and first arguments in place of the configured ones: the command of an earlier version of the daemon. */
  readonly command?: readonly string[];
}

/** What a launcher knows of a daemon for people to read, in status and messages; the coordinator decides nothing by it. */
export interface LaunchFacts {
  /** The daemon's process id; null when the daemon has no process yet, or its launcher makes no processes. */
  readonly pid: number | null;
}

/** What a launcher learned of a daemon's memory; null for each figure that it could not learn. */
export interface MemoryEvidence {
  /** Processes of the daemon's tree that the kernel killed for want of memory. */
  readonly oomKills: number | null;
  /** The most bytes that the daemon's whole tree ever used, file cache included. */
  readonly peakBytes: number | null;
}

/** How one run of a daemon ended, as its launcher saw it. */
export interface DaemonExit extends MemoryEvidence {
  /** Number of processes, of any program, that the host's OOM killer ended while the daemon ran; null where not known. */
  readonly hostOomKills: number | null;
  /** Exit code of the daemon; null when a signal ended it, or the launcher saw no code (process.ts: of an adopted daemon). */
  readonly code: number | null;
  readonly signal: string | null;
  /** Last lines that the daemon wrote to its log, oldest first; empty where the launcher keeps none. */
  readonly lastLines: readonly string[];
  /** Number of the daemon's descendants that were still alive at its end and were ended too. */
  readonly strays: number;
}

/** A daemon that runs, and the ways to end it. */
export interface DaemonProcess {
  readonly incarnation: string;
  /** The planned handle completed with what the launcher learned at the start (the pid); the store keeps it instead. */
  readonly handle: LaunchHandle;
  readonly facts: LaunchFacts;
  /** Resolves after the daemon and every descendant are gone. Never rejects. */
  readonly exited: Promise<DaemonExit>;
  /** Asks the daemon to end (SIGTERM), kills its whole tree after `graceMs`. Idempotent; returns `exited`. */
  terminate(graceMs: number): Promise<DaemonExit>;
  /** Kills the daemon and all of its descendants. Does not wait for their end: `exited` does. */
  killNow(): void;
  /** Program and first arguments of the daemon; undefined when they are the configured ones, or not known. */
  otherCommand(): readonly string[] | undefined;
  /** Keeps the daemon's log, if the launcher writes one, from growing without bound. @throws Error of the file system. */
  rotateLog(): void;
}

/** What is known of a daemon once it listens. */
export interface Ready {
  readonly address: DaemonAddress;
  readonly version: string;
}

/** A daemon that `Launcher.start` started. */
export interface Launch {
  readonly process: DaemonProcess;
  /**
   * Resolves when the daemon listens. Rejects with the daemon's refusal, or with the reason why it gave no answer. Has no
   * deadline and never ends the daemon: a caller that gives up calls `process.terminate`.
   */
  readonly ready: Promise<Ready>;
}

/** A daemon that an earlier coordinator started, as its row in the store describes it. */
export interface KnownDaemon {
  readonly incarnation: string;
  readonly handle: LaunchHandle;
  readonly secret: string;
}

/** What `Launcher.adopt` found out about a daemon of the store. */
export type Whereabouts =
  /** The daemon runs. Without `address` the handle does not contain it, and the address in the store is to be used. */
  | { readonly verdict: 'alive'; readonly process: DaemonProcess; readonly address?: DaemonAddress }
  /** The daemon does not run. `hasRun` is false when no process of it is known: then a start under way may still make one. */
  | { readonly verdict: 'gone'; readonly hasRun: boolean; readonly exit: DaemonExit }
  /**
   * Neither proven alive nor proven dead: the daemon is left alone. Also the verdict for every handle that another launcher
   * wrote. `facts` is what was found out beyond the facts in the handle.
   */
  | { readonly verdict: 'unverifiable'; readonly why: string; readonly facts?: LaunchFacts };

/** What a launcher wrote down, outside the database, of a daemon whose end it has not seen. */
export interface DaemonNote extends KnownDaemon {
  readonly workspaceId: string;
  readonly workspacePath: string;
  readonly createdAtMs: number;
  /** Whether the daemon runs; false also when the launcher cannot find out. */
  readonly isRunning: boolean;
  readonly facts: LaunchFacts;
}

/** What the database says of a noted daemon. `known`: its row has a secret; `over`: its row is ended; `lost`: neither. */
export type NoteFate = 'known' | 'over' | 'lost';

/**
 * Makes daemons, finds them again and ends them. A daemon's program is given its incarnation as the argument of `--incarnation`
 * and in the environment, its handshake on descriptor 3 (daemon/contract/handshake.ts), and a directory to keep files in.
 */
export interface Launcher {
  /**
   * The handle of a daemon that is to be started. Starts nothing. Commit the handle to the store before `start`, so that the
   * daemon can be found again at whatever moment the coordinator is killed.
   * @throws Error when no such daemon could be started (its socket path would be too long).
   */
  plan(plan: LaunchPlan): LaunchHandle;
  /**
   * Starts the daemon of a planned and committed handle. Idempotent while that daemon runs: a second call with the same handle
   * returns the daemon of the first. Not to be called once the daemon has ended: the next daemon is planned under its own name.
   * A running daemon does not keep the coordinator's event loop alive; a `terminate` under way does.
   * @throws Error when no daemon could be made (out of processes, no program), or another launcher wrote the handle. A launcher
   *   that learns only later that no daemon could be made rejects `ready`, and `exited` resolves.
   */
  start(handle: LaunchHandle, spec: LaunchSpec): Launch;
  /**
   * Finds the daemon of an earlier coordinator, and ends the strays of a daemon that is gone. Resolves `alive` also for a daemon
   * that is about to end: then `exited` resolves soon. Signals only processes that are proven to be the daemon's. Has no
   * deadline, except as the launcher's own settings say; a daemon that stays unverifiable is asked for again every few seconds.
   */
  adopt(known: KnownDaemon): Promise<Whereabouts>;
  /** The facts in the handle, read without looking for the daemon. Never throws: nulls for a handle of another launcher. */
  factsOf(handle: LaunchHandle): LaunchFacts;
  /**
   * The notes of daemons for which `fateOf` says `lost`. Removes the notes for which it says `over`. A launcher without notes
   * returns none: after the loss of a database its daemons then run until their orphan limit.
   */
  lost(fateOf: (incarnation: string) => NoteFate): readonly DaemonNote[];
}
