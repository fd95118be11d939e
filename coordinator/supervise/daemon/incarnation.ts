// One incarnation of a daemon, from its process to its exit. What happens to it becomes events of the state table, and
// what the table wants of it is a method here; why it goes and what follows is the cell's affair.
import type { Event } from '../../domain/daemon-state.ts';
import { readHostOomKills } from '../../launch/host-oom.ts';
import type { DaemonExit, DaemonProcess, Launch } from '../../launch/launcher.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { FollowedFeed } from '../feed/follower.ts';
import type { WorkspaceKey } from '../fleet.ts';
import type { Watched } from './daemon-end.ts';
import type { SupervisorDeps } from './deps.ts';
import { causeOf, type EndCause } from './end-cause.ts';
import { DaemonFacts } from './facts.ts';
import type { Machine } from './machine.ts';
import { ReleaseCall } from './release.ts';

/** A dead daemon's feed ends at once; only a connection that somebody holds open would take longer. */
const LAST_WORDS_WITHIN_MS = 500;

/** What is known of a process before it says anything itself. */
export interface KnownBefore {
  readonly version: string | null;
  readonly wasReady: boolean;
  /** Why it is to be replaced as soon as its turns have ended; absent when it fits this coordinator. */
  readonly misfit?: string;
}

export interface IncarnationDeps extends SupervisorDeps {
  /** Its cell's. */
  readonly machine: Pick<Machine, 'stateOf' | 'dispatch' | 'dispatchAfter'>;
}

export class Incarnation {
  readonly id: string;
  readonly process: DaemonProcess;
  readonly endpoint: Endpoint;
  readonly logPath: string;
  /** Period in which beats are due. */
  readonly beatMs: number;
  readonly facts: DaemonFacts;
  readonly #deps: IncarnationDeps;
  readonly #lettingGo: ReleaseCall;
  readonly #misfit: string | undefined;
  /** What the host's oom killer had done when it began. */
  readonly #hostOomKillsBefore = readHostOomKills();
  #version: string | null;
  #wasReady: boolean;
  #feed: FollowedFeed | undefined;
  #cause: EndCause | undefined;
  /** Monotonic time at which a drain ends whatever still runs. */
  #drainUntilMs = Number.POSITIVE_INFINITY;
  /** It is to end only if it has nothing to do. */
  #mayStay = false;

  /** Around a process that runs already. Nothing is done with it before a method is called. */
  constructor(deps: IncarnationDeps, workspace: WorkspaceKey, process: DaemonProcess, known: KnownBefore) {
    const { incarnation, socketPath, secret } = process.mark;
    const { logPath, bridge } = deps.layoutOf(workspace, incarnation);
    this.id = incarnation;
    this.process = process;
    this.endpoint = {
      workspaceId: workspace.id,
      incarnation,
      address: { kind: 'unix', path: socketPath },
      secret,
    };
    this.logPath = logPath;
    this.beatMs = bridge.limits.feedBeatMs;
    this.facts = new DaemonFacts(deps.clock.monotonicMs());
    this.#deps = deps;
    this.#lettingGo = new ReleaseCall(deps, this.endpoint);
    this.#misfit = known.misfit;
    this.#version = known.version;
    this.#wasReady = known.wasReady;
  }

  get version(): string | null {
    return this.#version;
  }

  /** It has been ready at some time. */
  get wasReady(): boolean {
    return this.#wasReady;
  }

  /** Undefined until it is followed. */
  get feed(): FollowedFeed | undefined {
    return this.#feed;
  }

  /** Why it is ended; undefined while nobody wants that. */
  get cause(): EndCause | undefined {
    return this.#cause;
  }

  /** For the record of its death. */
  watched(): Watched {
    const before = this.#hostOomKillsBefore;
    const after = before === null ? null : readHostOomKills();
    return {
      wasReady: this.#wasReady,
      isUnasked: this.#cause === undefined,
      beats: this.facts.lastBeats,
      hostOomKills: after === null || before === null ? null : after - before,
    };
  }

  /** Awaits the first word of a process that was just made, and lets the database know of it. */
  awaitReady(ready: Launch['ready']): void {
    const { pid, startTime } = this.process.mark;
    const failed = (error: unknown) => this.#startFailed(error);
    this.#giveUpAfter(this.#deps.settings.startTimeoutMs, 'its ready line');
    ready.then(({ version }) => this.#dispatch({ type: 'listening', incarnation: this.id, version }), failed);
    try {
      this.#deps.store.daemons.setPid(this.id, pid, startTime);
    } catch (error) {
      // A process that the database does not know could not be found again, so it must not live on.
      failed(error);
    }
  }

  /** Records that its ready line came; its feed is due next. */
  recordListening(version: string): void {
    this.#giveUpAfter(this.#deps.settings.feedReadyTimeoutMs, 'its feed');
    this.#version = version;
    try {
      this.#deps.store.daemons.setReady(this.id, version);
    } catch (error) {
      this.#startFailed(error);
    }
  }

  followFeed(): void {
    const { clock, recorder, settings } = this.#deps;
    // The feed of another version may be none that can be read here.
    if (this.#misfit !== undefined) this.#giveUpAfter(settings.drainTimeoutMs, 'its feed');
    this.#feed = this.#deps.followFeed(this.endpoint, {
      record: (record) => {
        this.facts.take(record, clock.monotonicMs());
        recorder.apply(this.endpoint, record);
        this.#endDrainIfQuiet();
      },
      up: () => {
        this.#dispatch({ type: 'ready', incarnation: this.id });
        if (this.#misfit !== undefined) this.#replace(this.#misfit);
        this.#endDrainIfQuiet();
      },
    });
  }

  /** Its route is open. */
  markReady(): void {
    this.#wasReady = true;
  }

  /** The first reason to end it is the one that is recorded. */
  noteCause(event: Event): void {
    if (event.type === 'busy') this.#cause = undefined;
    else this.#cause ??= causeOf(event);
  }

  /** Turns under way may go on for `drainMs`. A second call may shorten that, never lengthen it. */
  drain(drainMs: number): void {
    this.#mayStay = false;
    this.#endWithin(drainMs);
  }

  /** Ends it once it says itself that nothing runs; where it has work after all it stays, and `busy` is told. */
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

  /** Ends the process. One that is given up on is not asked to let go of anything first. */
  terminate(): void {
    const terminate = () => void this.process.terminate(this.#deps.settings.stopGraceMs);
    const isThere = () => this.#deps.machine.stateOf(this.id) !== undefined;
    if (this.#cause === undefined || this.#cause.kind === 'died') terminate();
    else void this.#lettingGo.now(isThere, terminate);
  }

  /** Calls `done` once, when the process is gone and its last words are heard; settles after that. */
  async whenEnded(done: (exit: DaemonExit) => void): Promise<void> {
    const exit = await this.process.exited;
    // An acknowledged prompt may be among its last words.
    await this.#feed?.drained(LAST_WORDS_WITHIN_MS);
    this.unfollow();
    done(exit);
  }

  /** Takes nothing of its feed any more. */
  unfollow(): void {
    this.#feed?.close();
  }

  /** It may end its turns; the next demand starts one that fits. */
  #replace(reason: string): void {
    const { drainTimeoutMs: drainMs } = this.#deps.settings;
    this.#dispatch({ type: 'stop', reason, kind: 'replaced', drainMs, hasServed: true });
  }

  /** Where the feed is down nobody knows whether a turn runs: the drain then takes its full time. */
  #endDrainIfQuiet(): void {
    if (this.#deps.machine.stateOf(this.id) !== 'draining') return;
    const isQuiet = this.#feed?.isUp === true && this.facts.isQuietOnFeed;
    const { state } = this.#lettingGo;
    // One that may have let go takes no work any more, so it cannot stay before it has said that it has some.
    if (isQuiet || (this.#mayStay && state === 'unsure')) this.#askIfQuiet();
    else if (this.#mayStay && state === 'held') this.#stay();
  }

  #askIfQuiet(): void {
    this.#lettingGo.ifQuiet({
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

  /** Unless the start gets on meanwhile. */
  #giveUpAfter(afterMs: number, what: string): void {
    const why = `${what} did not come within ${afterMs} ms`;
    this.#deps.machine.dispatchAfter(afterMs, { type: 'boot_timeout', incarnation: this.id, why });
  }

  #dispatch(event: Event): void {
    this.#deps.machine.dispatch(event);
  }
}
