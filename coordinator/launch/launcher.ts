// The seam between "a daemon should run" and how it comes to run. `process.ts` is the embedded implementation; another
// launcher may hand daemons to a service manager or a scheduler. Nothing outside launch/ knows processes, signals or log files.
import type { BridgeSettings } from '../../daemon/contract/handshake.ts';
import type { DaemonAddress } from '../upstream/address.ts';

/**
 * How a launcher finds a daemon again, also after a restart of the coordinator. Only launchers write and read handles
 * (handle.ts). The store keeps a handle as text, also in backups: it names the launcher's kind and version, and no credential.
 */
export type LaunchHandle = string;

/** What a handle is planned from. */
export interface LaunchPlan {
  readonly workspaceId: string;
  /** Never used twice in the life of a state directory. */
  readonly incarnation: string;
}

/** What a daemon is started with. */
export interface LaunchSpec extends LaunchPlan {
  /** Canonical workspace path. */
  readonly workspacePath: string;
  /** The bearer that the daemon will expect. */
  readonly secret: string;
  readonly bridge: BridgeSettings;
  /** Program and first arguments in place of the configured ones: those of an earlier version. */
  readonly command?: readonly string[];
}

/** What a launcher may know of a daemon for people to read. */
export interface LaunchFacts {
  /** Null where the launcher knows of no process, or makes none. */
  readonly pid: number | null;
}

/** What a launcher may know of a daemon's memory; null where it does not. */
export interface MemoryEvidence {
  /** Processes of the daemon's tree that the kernel killed for want of memory. */
  readonly oomKills: number | null;
  /** The most that the whole tree ever used, file cache included. */
  readonly peakBytes: number | null;
}

export interface DaemonExit extends MemoryEvidence {
  /** Any processes that the OOM killer of the daemon's host ended while the daemon ran; null where not known. */
  readonly hostOomKills: number | null;
  /** Null when the launcher did not see the exit code (process.ts: of an adopted daemon), or the daemon died by a signal. */
  readonly code: number | null;
  readonly signal: string | null;
  /** Last lines that the daemon wrote to its log, oldest first; empty where the launcher keeps none. */
  readonly lastLines: readonly string[];
  /** Descendants of the daemon that were still alive at its end and were ended too. */
  readonly strays: number;
}

export interface DaemonProcess {
  readonly incarnation: string;
  /** The planned handle with what the launcher has learned since; takes the place of the planned handle in the store. */
  readonly handle: LaunchHandle;
  readonly facts: LaunchFacts;
  /** Settles once, after the daemon and every descendant are gone. Never rejects. */
  readonly exited: Promise<DaemonExit>;
  /** Asks the daemon to end (SIGTERM), kills its whole tree after `graceMs`. Idempotent; returns `exited`. */
  terminate(graceMs: number): Promise<DaemonExit>;
  /** Kills the daemon and all of its descendants. Returns as soon as the kill is on its way. */
  killNow(): void;
  /** Program and first arguments of the daemon; undefined where they are the configured ones, or not known. */
  otherCommand(): readonly string[] | undefined;
  /** Keeps the daemon's log, if the launcher writes one, from growing without bound. @throws Error of the file system. */
  rotateLog(): void;
}

/** The first word of a daemon that listens. */
export interface Ready {
  readonly address: DaemonAddress;
  readonly version: string;
}

export interface Launch {
  readonly process: DaemonProcess;
  /**
   * Rejects with the daemon's own words, or with why there were none. Has no deadline and never ends the daemon: whoever gives
   * up on it calls `terminate`.
   */
  readonly ready: Promise<Ready>;
}

/** A daemon that an earlier coordinator started, as the store knows it. */
export interface KnownDaemon {
  readonly incarnation: string;
  readonly handle: LaunchHandle;
  readonly secret: string;
}

/** What became of a known daemon. */
export type Whereabouts =
  /** `address` is absent where the launcher cannot tell it from the handle: then the stored address leads to the daemon. */
  | { readonly verdict: 'alive'; readonly process: DaemonProcess; readonly address?: DaemonAddress }
  /** The daemon does not run. `hasRun` false: as far as is known it never did, and a start under way may still make it. */
  | { readonly verdict: 'gone'; readonly hasRun: boolean; readonly exit: DaemonExit }
  /**
   * The daemon may run, which is neither proven nor disproven: it is left alone. Also said of every handle that is not this
   * launcher's. `facts` is what was found out beyond the handle's own facts.
   */
  | { readonly verdict: 'unverifiable'; readonly why: string; readonly facts?: LaunchFacts };

/** What a launcher wrote down of a daemon that it has not seen end. */
export interface DaemonNote extends KnownDaemon {
  readonly workspaceId: string;
  readonly workspacePath: string;
  readonly createdAtMs: number;
  /** False also where the launcher cannot tell. */
  readonly isRunning: boolean;
  readonly facts: LaunchFacts;
}

/** What the database says of a noted daemon: its row is there, its row says that it ended, or there is no row with a secret. */
export type NoteFate = 'known' | 'over' | 'lost';

export interface Launcher {
  /**
   * The handle of a daemon that is to be started. Does nothing else: commit the handle before `start`, so that the daemon can
   * be found again, at whatever moment the coordinator is killed.
   * @throws Error when no such daemon could be started (its socket path would be too long).
   */
  plan(plan: LaunchPlan): LaunchHandle;
  /**
   * Starts the daemon of a planned handle. Idempotent: a handle whose daemon was started already gives that daemon.
   * @throws Error when no daemon could be made (out of processes, no program), or the handle is not this launcher's.
   */
  start(handle: LaunchHandle, spec: LaunchSpec): Launch;
  /**
   * Finds the daemon of an earlier coordinator; ends what a daemon that is gone has left running. Resolves `alive` also for a
   * daemon that is about to end; its exit then comes soon. Signals no process that is not proven to be the daemon's.
   */
  adopt(known: KnownDaemon): Promise<Whereabouts>;
  /** What the handle says by itself. Never throws: a handle that is not this launcher's says nothing. */
  factsOf(handle: LaunchHandle): LaunchFacts;
  /** Notes of daemons that were not seen to end and that the caller's database has `lost`. Forgets notes that are `over`. */
  lost(fateOf: (incarnation: string) => NoteFate): readonly DaemonNote[];
}
