// One incarnation of a daemon, from its process to its exit. What happens to the daemon becomes events of the state table, and
// what the table wants of the daemon is a method here; what follows its end is the controller's affair.
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { Event } from '../../domain/daemon-state.ts';
import type { DaemonExit, DaemonProcess, Launch } from '../../launch/launcher.ts';
import type { Daemons } from '../../store/store.ts';
import { type DaemonAddress, storedReach } from '../../upstream/address.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { FollowedFeed } from '../feed/follower.ts';
import type { SessionRecorder, Source } from '../records/session-recorder.ts';
import type { SuperviseSettings } from '../settings.ts';
import { causeOf, type EndCause, type Watched } from './daemon-end.ts';
import { DaemonFacts } from './facts.ts';
import type { DaemonLink } from './link.ts';
import type { Machine } from './machine.ts';
import { ReleaseCall } from './release.ts';

/** A dead daemon's feed ends at once; only a connection that another process holds open would take longer. */
const LAST_WORDS_WITHIN_MS = 500;

/** What is known of a daemon before it says anything itself. */
export interface KnownBefore {
  readonly version: string | null;
  readonly wasReady: boolean;
  /** Why the daemon is to be replaced as soon as its turns have ended; absent when it fits this coordinator. */
  readonly misfit?: string;
}

/** A process that runs, its workspace, and how it is reached. */
export interface Origin {
  readonly workspaceId: string;
  readonly process: DaemonProcess;
  /** The bearer that the daemon expects. */
  readonly secret: string;
  /** Undefined while the daemon has not said where it listens. */
  readonly address: DaemonAddress | undefined;
}

export interface IncarnationDeps {
  readonly daemons: Pick<Daemons, 'setLaunched' | 'setReady'>;
  readonly recorder: Pick<SessionRecorder, 'apply'>;
  readonly link: Pick<DaemonLink, 'followFeed' | 'release' | 'endStreams'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: Pick<
    SuperviseSettings,
    'startTimeoutMs' | 'feedReadyTimeoutMs' | 'drainTimeoutMs' | 'stopGraceMs'
  >;
  /** Period in which beats are due. */
  readonly beatMs: number;
  /** The controller's state machine. */
  readonly machine: Pick<Machine, 'stateOf' | 'dispatch' | 'dispatchAfter'>;
}

export class Incarnation {
  readonly id: string;
  readonly source: Source;
  readonly process: DaemonProcess;
  readonly beatMs: number;
  readonly facts: DaemonFacts;
  readonly #deps: IncarnationDeps;
  readonly #secret: string;
  readonly #misfit: string | undefined;
  #endpoint: Endpoint | undefined;
  #release: ReleaseCall | undefined;
  #version: string | null;
  #wasReady: boolean;
  #feed: FollowedFeed | undefined;
  #cause: EndCause | undefined;
  /** Monotonic time at which a drain ends whatever still runs. */
  #drainUntilMs = Number.POSITIVE_INFINITY;
  /** The daemon is to end only if it has nothing to do. */
  #mayStay = false;

  /** The process runs already. The constructor does nothing with it. */
  constructor(deps: IncarnationDeps, origin: Origin, known: KnownBefore) {
    const { workspaceId, process, secret, address } = origin;
    this.id = process.incarnation;
    this.source = { workspaceId, incarnation: this.id };
    this.process = process;
    this.beatMs = deps.beatMs;
    this.facts = new DaemonFacts(deps.clock.monotonicMs());
    this.#deps = deps;
    this.#secret = secret;
    this.#misfit = known.misfit;
    this.#version = known.version;
    this.#wasReady = known.wasReady;
    if (address !== undefined) this.#listensAt(address);
  }

  /** Undefined until the daemon listens. */
  get endpoint(): Endpoint | undefined {
    return this.#endpoint;
  }

  get version(): string | null {
    return this.#version;
  }

  /** The daemon has been ready at some time. */
  get wasReady(): boolean {
    return this.#wasReady;
  }

  /** Undefined until the daemon's feed is followed. */
  get feed(): FollowedFeed | undefined {
    return this.#feed;
  }

  /** Why the daemon is ended; undefined while nothing wants its end. */
  get cause(): EndCause | undefined {
    return this.#cause;
  }

  /** What the record of the daemon's death says of its life. */
  watched(): Watched {
    return {
      wasReady: this.#wasReady,
      isUnasked: this.#cause === undefined,
      beats: this.facts.lastBeats,
    };
  }

  /** Awaits the first word of a process that was just made, and stores the process's handle. */
  awaitReady(ready: Launch['ready']): void {
    const { handle, facts } = this.process;
    const failed = (error: unknown) => this.#startFailed(error);
    this.#giveUpAfter(this.#deps.settings.startTimeoutMs, 'its ready line');
    ready.then(({ address, version }) => {
      this.#listensAt(address);
      this.#dispatch({ type: 'listening', incarnation: this.id, version });
    }, failed);
    try {
      this.#deps.daemons.setLaunched(this.id, handle, { ...facts });
    } catch (error) {
      // A process that the database does not know could not be found again, so it must not live on.
      failed(error);
    }
  }

  /** Records that the daemon's ready line came, and where it listens; its feed is due next. */
  recordListening(version: string): void {
    this.#giveUpAfter(this.#deps.settings.feedReadyTimeoutMs, 'its feed');
    this.#version = version;
    if (this.#endpoint === undefined) return;
    try {
      this.#deps.daemons.setReady(this.id, { version, ...storedReach(this.#endpoint) });
    } catch (error) {
      this.#startFailed(error);
    }
  }

  followFeed(): void {
    const endpoint = this.#endpoint;
    if (endpoint === undefined) return;
    const { clock, link, recorder, settings } = this.#deps;
    // This coordinator may not be able to read the feed of a daemon of another version.
    if (this.#misfit !== undefined) this.#giveUpAfter(settings.drainTimeoutMs, 'its feed');
    this.#feed = link.followFeed(endpoint, {
      record: (record) => {
        this.facts.take(record, clock.monotonicMs());
        recorder.apply(this.source, record);
        this.#endDrainIfQuiet();
      },
      up: () => {
        this.#dispatch({ type: 'ready', incarnation: this.id });
        if (this.#misfit !== undefined) this.#replace(this.#misfit);
        this.#endDrainIfQuiet();
      },
    });
  }

  /** The daemon's route is published. */
  markReady(): void {
    this.#wasReady = true;
  }

  /** Notes why the event ends the daemon: the first reason is the one that is recorded. */
  noteCause(event: Event): void {
    if (event.type === 'busy') this.#cause = undefined;
    else this.#cause ??= causeOf(event);
  }

  /** Turns under way may go on for `drainMs`. A second call may shorten that, never lengthen it. */
  drain(drainMs: number): void {
    this.#mayStay = false;
    this.#endWithin(drainMs);
  }

  /** Ends the daemon once it says that nothing runs; a daemon that has work after all stays, and `busy` is dispatched. */
  endIfQuiet(withinMs: number): void {
    this.#mayStay = true;
    this.#drainUntilMs = Number.POSITIVE_INFINITY;
    this.#endWithin(withinMs);
  }

  #endWithin(drainMs: number): void {
    const nowMs = this.#deps.clock.monotonicMs();
    this.#drainUntilMs = Math.min(this.#drainUntilMs, nowMs + drainMs);
    const drained: Event = { type: 'drained', incarnation: this.id };
    this.#deps.machine.dispatchAfter(this.#drainUntilMs - nowMs, drained);
    this.#endDrainIfQuiet();
  }

  /** Ends the process. A daemon that is given up on, or never listened, is not asked for its release first. */
  terminate(): void {
    const terminate = () => void this.process.terminate(this.#deps.settings.stopGraceMs);
    const isThere = () => this.#deps.machine.stateOf(this.id) !== undefined;
    const isGivenUp = this.#cause === undefined || this.#cause.kind === 'died';
    if (isGivenUp || this.#release === undefined) terminate();
    else void this.#release.now(isThere, terminate);
  }

  /** Calls `done` once, when the process is gone and its last words are heard; settles after that. */
  async whenEnded(done: (exit: DaemonExit) => void): Promise<void> {
    const exit = await this.process.exited;
    // The last records of its feed may have an acknowledged prompt.
    await this.#feed?.drained(LAST_WORDS_WITHIN_MS);
    this.unfollow();
    done(exit);
  }

  /** Stops following the daemon's feed. */
  unfollow(): void {
    this.#feed?.close();
  }

  #listensAt(address: DaemonAddress): void {
    this.#endpoint = { ...this.source, address, secret: this.#secret };
    this.#release = new ReleaseCall(this.#deps, this.#endpoint);
  }

  /** The daemon may end its turns; the next demand starts a daemon that fits. */
  #replace(reason: string): void {
    const { drainTimeoutMs: drainMs } = this.#deps.settings;
    this.#dispatch({ type: 'stop', reason, kind: 'replaced', drainMs, hasServed: true });
  }

  /** While the feed is down it is not known whether a turn runs: the drain then takes its full time. */
  #endDrainIfQuiet(): void {
    if (this.#deps.machine.stateOf(this.id) !== 'draining') return;
    const isQuiet = this.#feed?.isUp === true && this.facts.isQuietOnFeed;
    const state = this.#release?.state;
    // A daemon that may have released takes no work any more, so it cannot stay before it has said that it has some.
    if (isQuiet || (this.#mayStay && state === 'unsure')) this.#askIfQuiet();
    else if (this.#mayStay && state === 'working') this.#stay();
  }

  #askIfQuiet(): void {
    this.#release?.ifQuiet({
      done: () => this.#dispatch({ type: 'drained', incarnation: this.id }),
      busy: () => (this.#mayStay ? this.#stay() : this.#endDrainIfQuiet()),
      again: () => this.#endDrainIfQuiet(),
    });
  }

  #stay(): void {
    this.#dispatch({ type: 'busy', incarnation: this.id });
  }

  #startFailed(error: unknown): void {
    this.#dispatch({ type: 'start_failed', incarnation: this.id, error });
  }

  /** Gives the start up after `afterMs`, unless the state changes or the next step of the start sets its own limit. */
  #giveUpAfter(afterMs: number, what: string): void {
    const why = `${what} did not come within ${afterMs} ms`;
    this.#deps.machine.dispatchAfter(afterMs, { type: 'boot_timeout', incarnation: this.id, why });
  }

  #dispatch(event: Event): void {
    this.#deps.machine.dispatch(event);
  }
}
