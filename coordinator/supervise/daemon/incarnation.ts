// One incarnation of a daemon, from its process to its exit: dispatches what happens to it as events of the state table, and
// carries out the effects that concern this one process. The controller handles what follows its end.
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

/** Longest wait for the last feed records of a dead daemon. Its feed ends at once, unless another process keeps it open. */
const LAST_WORDS_WITHIN_MS = 500;

/** What is known of a daemon before its feed is followed: of a new daemon nothing, of an adopted daemon its row and identity. */
export interface KnownBefore {
  readonly version: string | null;
  readonly wasReady: boolean;
  /** Why the daemon is to be replaced as soon as its turns have ended; absent when it fits this coordinator. */
  readonly misfit?: string;
}

/** A daemon's running process, its workspace, and how to reach it. */
export interface Origin {
  readonly workspaceId: string;
  readonly process: DaemonProcess;
  /** The secret that the daemon demands of requests. */
  readonly secret: string;
  /** Undefined for a new daemon, which says only later where it listens. */
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
  /** Period of the daemon's beats. */
  readonly beatMs: number;
  /** The machine of the controller that this incarnation belongs to. */
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
  /** Monotonic time at which a drain ends the daemon although turns still run. */
  #drainUntilMs = Number.POSITIVE_INFINITY;
  /** Whether the daemon is ended only for idleness, and stays when it has work after all. */
  #mayStay = false;

  /** For a process that runs already. Starts nothing: call `awaitReady` for a new daemon. */
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

  /** Where the daemon is reached; undefined until it listens. */
  get endpoint(): Endpoint | undefined {
    return this.#endpoint;
  }

  get version(): string | null {
    return this.#version;
  }

  /** Whether the daemon has ever been ready. */
  get wasReady(): boolean {
    return this.#wasReady;
  }

  /** The daemon's feed; undefined until it is followed. */
  get feed(): FollowedFeed | undefined {
    return this.#feed;
  }

  /** Why the coordinator ends the daemon; undefined while it does not. */
  get cause(): EndCause | undefined {
    return this.#cause;
  }

  /** What the coordinator saw of the daemon, for the record of its end. */
  watched(): Watched {
    return {
      wasReady: this.#wasReady,
      isUnasked: this.#cause === undefined,
      beats: this.facts.lastBeats,
    };
  }

  /** Waits until a new daemon listens, within `startTimeoutMs`, and stores its launch handle. Dispatches the outcome. */
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
      // The daemon is ended: without its stored handle the next coordinator could not find it.
      failed(error);
    }
  }

  /** Stores that the daemon listens, and where. From now on it has `feedReadyTimeoutMs` for the first snapshot of its feed. */
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
    // A time limit, because this coordinator may be unable to read the feed of a daemon with another contract version.
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

  /** Notes that the daemon is ready; the controller calls it when the route is published. */
  markReady(): void {
    this.#wasReady = true;
  }

  /** Notes why `event` ends the daemon. The first cause is kept, until `busy` says that the daemon stays. */
  noteCause(event: Event): void {
    if (event.type === 'busy') this.#cause = undefined;
    else this.#cause ??= causeOf(event);
  }

  /** Begins a drain: turns under way may go on for `drainMs`. A second call can shorten this time, never lengthen it. */
  drain(drainMs: number): void {
    this.#mayStay = false;
    this.#endWithin(drainMs);
  }

  /** Ends the daemon once it confirms that it is quiet, or after `withinMs`. When it has work after all, dispatches `busy`. */
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

  /** Ends the process: after a release, unless the daemon is given up, ended unasked, or never listened. */
  terminate(): void {
    const terminate = () => void this.process.terminate(this.#deps.settings.stopGraceMs);
    const isThere = () => this.#deps.machine.stateOf(this.id) !== undefined;
    const isGivenUp = this.#cause === undefined || this.#cause.kind === 'died';
    if (isGivenUp || this.#release === undefined) terminate();
    else void this.#release.now(isThere, terminate);
  }

  /** Calls `done` once, when the process is gone and its last feed records are taken. Resolves after `done`. */
  async whenEnded(done: (exit: DaemonExit) => void): Promise<void> {
    const exit = await this.process.exited;
    // The last feed records may contain a prompt that was acknowledged to a client.
    await this.#feed?.drained(LAST_WORDS_WITHIN_MS);
    this.unfollow();
    done(exit);
  }

  /** Closes the daemon's feed, if it is followed. */
  unfollow(): void {
    this.#feed?.close();
  }

  #listensAt(address: DaemonAddress): void {
    this.#endpoint = { ...this.source, address, secret: this.#secret };
    this.#release = new ReleaseCall(this.#deps, this.#endpoint);
  }

  /** Drains and ends the daemon for `reason`: another contract version, say. The next demand starts a daemon as configured. */
  #replace(reason: string): void {
    const { drainTimeoutMs: drainMs } = this.#deps.settings;
    this.#dispatch({ type: 'stop', reason, kind: 'replaced', drainMs, hasServed: true });
  }

  /** Ends the drain early when nothing runs. While the feed is down this is not known, and the drain takes its full time. */
  #endDrainIfQuiet(): void {
    if (this.#deps.machine.stateOf(this.id) !== 'draining') return;
    const isQuiet = this.#feed?.isUp === true && this.facts.isQuietOnFeed;
    const state = this.#release?.state;
    // `unsure`: the daemon may have released and takes no work any more, so it may stay only after it says that it has work.
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

  /** Gives the start up after `afterMs`, unless the state changes or a later call sets another limit. `what` did not come. */
  #giveUpAfter(afterMs: number, what: string): void {
    const why = `${what} did not come within ${afterMs} ms`;
    this.#deps.machine.dispatchAfter(afterMs, { type: 'boot_timeout', incarnation: this.id, why });
  }

  #dispatch(event: Event): void {
    this.#deps.machine.dispatch(event);
  }
}
