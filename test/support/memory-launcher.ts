// A launcher whose daemons live in the memory of a test: they have no process, no pid and no socket, and outlive the supervisor
// that started them. A test says when one becomes ready and how it ends, and reads what was done to it.
import { ForeignHandle, readHandle, writeHandle } from '../../coordinator/launch/handle.ts';
import type {
  DaemonExit,
  DaemonNote,
  DaemonProcess,
  KnownDaemon,
  Launch,
  Launcher,
  LaunchFacts,
  LaunchHandle,
  LaunchPlan,
  LaunchSpec,
  NoteFate,
  Ready,
  Whereabouts,
} from '../../coordinator/launch/launcher.ts';
import type { DaemonAddress } from '../../coordinator/upstream/address.ts';

const KIND = 'memory';
const VERSION = 2;

export const CLEAN_EXIT: DaemonExit = {
  code: 0,
  signal: null,
  lastLines: [],
  strays: 0,
  oomKills: null,
  peakBytes: null,
  hostOomKills: null,
};

/** What `adopt` says of a daemon that ran, ended, and left nothing. */
export const GONE: Whereabouts = { verdict: 'gone', hasRun: true, exit: { ...CLEAN_EXIT, code: null } };

/** The handle that is planned for an incarnation, or, once a daemon was made from it, the one that takes its place. */
export function memoryHandle(incarnation: string, isMade = true): LaunchHandle {
  return writeHandle(KIND, VERSION, { name: incarnation, ...(isMade && { isMade }) });
}

let nextPort = 1;

export class MemoryDaemon implements DaemonProcess {
  readonly incarnation: string;
  readonly handle: LaunchHandle;
  readonly exited: Promise<DaemonExit>;
  readonly ready: Promise<Ready>;
  /** Known to nobody before it listens. */
  readonly address: DaemonAddress;
  facts: LaunchFacts = { pid: null };
  isAlive = true;
  hasListened = false;
  /** Grace of each `terminate` call. */
  readonly terminations: number[] = [];
  kills = 0;
  rotations = 0;
  /** What `otherCommand` says. */
  command: readonly string[] | undefined;
  /** Called at each `terminate` and `killNow`, before anything happens. */
  onSignal: (daemon: MemoryDaemon) => void = () => {};
  /** Ends at once when it is terminated. */
  endsWhenAsked = false;
  #settleExit!: (exit: DaemonExit) => void;
  #settleReady!: (ready: Ready) => void;
  #refuseReady!: (error: Error) => void;

  constructor(incarnation: string) {
    this.incarnation = incarnation;
    this.handle = memoryHandle(incarnation);
    this.address = { kind: 'tcp', host: 'memory.invalid', port: nextPort++ };
    this.exited = new Promise((resolve) => {
      this.#settleExit = resolve;
    });
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = resolve;
      this.#refuseReady = reject;
    });
    // Nobody awaits the first word of an adopted daemon.
    this.ready.catch(() => {});
  }

  /** Says its first word. */
  listen(version = '1.0.0'): void {
    this.hasListened = true;
    this.#settleReady({ address: this.address, version });
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

  otherCommand(): readonly string[] | undefined {
    return this.command;
  }

  rotateLog(): void {
    this.rotations += 1;
  }
}

export class MemoryLauncher implements Launcher {
  readonly specs: LaunchSpec[] = [];
  /** Every daemon that was ever made here, in order. */
  readonly daemons: MemoryDaemon[] = [];
  /** What `adopt` says instead of the truth, by incarnation. */
  readonly adoptions = new Map<string, Whereabouts | Promise<Whereabouts>>();
  /** What `lost` shows. */
  notes: readonly DaemonNote[] = [];
  /** What is known of every handle beyond its daemon. */
  facts: LaunchFacts = { pid: null };
  /** Whether `adopt` can say where a daemon listens; else only the store knows. */
  tellsAddresses = false;
  /** Makes the next `start` throw. */
  startError: Error | undefined;
  onStart: (daemon: MemoryDaemon) => void = () => {};

  /** Calls of `start` that no launcher has to bear. A supervisor may take what they throw for a failed start, so ask for them. */
  readonly breaches: string[] = [];
  /** Whether the store has this handle. */
  isCommitted: (handle: LaunchHandle) => boolean = () => true;
  readonly #planned = new Set<LaunchHandle>();

  plan({ incarnation }: LaunchPlan): LaunchHandle {
    const handle = memoryHandle(incarnation, false);
    this.#planned.add(handle);
    return handle;
  }

  start(handle: LaunchHandle, spec: LaunchSpec): Launch {
    const name = String(readHandle(handle, KIND, VERSION).name);
    const known = this.#named(name);
    this.#check(handle, spec, known);
    if (known !== undefined) return { process: known, ready: known.ready };
    if (this.startError !== undefined) throw this.startError;
    const daemon = new MemoryDaemon(name);
    this.specs.push(spec);
    this.daemons.push(daemon);
    this.onStart(daemon);
    return { process: daemon, ready: daemon.ready };
  }

  async adopt({ handle, incarnation }: KnownDaemon): Promise<Whereabouts> {
    const told = this.adoptions.get(incarnation);
    if (told !== undefined) return told;
    try {
      const { name, isMade } = readHandle(handle, KIND, VERSION);
      const daemon = this.#named(name);
      if (daemon?.isAlive !== true)
        return { ...GONE, hasRun: isMade === true || daemon !== undefined } as Whereabouts;
      const isTold = this.tellsAddresses && daemon.hasListened;
      return { verdict: 'alive', process: daemon, ...(isTold && { address: daemon.address }) };
    } catch (error) {
      if (!(error instanceof ForeignHandle)) throw error;
      return { verdict: 'unverifiable', why: error.message };
    }
  }

  factsOf(): LaunchFacts {
    return this.facts;
  }

  lost(fateOf: (incarnation: string) => NoteFate): readonly DaemonNote[] {
    return this.notes.filter(({ incarnation }) => fateOf(incarnation) === 'lost');
  }

  /** The daemon that was started last. */
  get last(): MemoryDaemon {
    const daemon = this.daemons.at(-1);
    if (daemon === undefined) throw new Error('nothing was started');
    return daemon;
  }

  get alive(): readonly MemoryDaemon[] {
    return this.daemons.filter(({ isAlive }) => isAlive);
  }

  #check(handle: LaunchHandle, { incarnation }: LaunchSpec, known: MemoryDaemon | undefined): void {
    const breach = [
      this.#planned.has(handle) ? undefined : 'was never planned',
      this.isCommitted(handle) ? undefined : 'is not committed',
      handle === memoryHandle(incarnation, false) ? undefined : `is started as ${incarnation}`,
      known?.isAlive === false ? 'had a daemon, which has ended' : undefined,
    ].find((found) => found !== undefined);
    if (breach === undefined) return;
    this.breaches.push(`${handle} ${breach}`);
    throw new Error(`${handle} ${breach}`);
  }

  #named(name: unknown): MemoryDaemon | undefined {
    return this.daemons.find(({ incarnation }) => incarnation === name);
  }
}
