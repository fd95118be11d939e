// Searches for the daemon of a row that an earlier coordinator wrote: whether the daemon runs, what answers at its address, and
// whether an interrupted start may still make it. Each step has a deadline.
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { DaemonIdentity } from '../../../daemon/contract/control.ts';
import type { Launcher, LaunchFacts, Whereabouts } from '../../launch/launcher.ts';
import type { DaemonRow } from '../../store/store.ts';
import { bearerOf, type DaemonAddress, type Reach, reachFrom } from '../../upstream/address.ts';
import type { AskIdentity } from '../daemon/link.ts';
import type { SuperviseSettings } from '../settings.ts';

/** Share of `adoptTimeoutMs` in which a found daemon may answer with its version. Without an answer it is adopted too. */
const QUESTION_SHARE = 0.3;

export interface DaemonSearchDeps {
  readonly launcher: Pick<Launcher, 'adopt' | 'factsOf'>;
  readonly askIdentity: AskIdentity;
  readonly clock: Clock;
  readonly settings: Pick<SuperviseSettings, 'adoptTimeoutMs' | 'probeTimeoutMs' | 'startTimeoutMs'>;
}

export class DaemonSearch {
  readonly #deps: DaemonSearchDeps;
  /** Monotonic times until which an interrupted start may still make its daemon, by incarnation. */
  readonly #startDeadlines = new Map<string, number>();

  constructor(deps: DaemonSearchDeps) {
    this.#deps = deps;
  }

  /** Asks the launcher for the row's daemon. Resolves `unverifiable` when the launcher has no verdict within `adoptTimeoutMs`. */
  find({ incarnation, launchHandle: handle, secret }: DaemonRow): Promise<Whereabouts> {
    const { clock, launcher, settings } = this.#deps;
    const { adoptTimeoutMs } = settings;
    return new Promise((resolve, reject) => {
      const why = `it could not be verified within ${adoptTimeoutMs} ms`;
      const deadline = clock.after(adoptTimeoutMs, () => resolve({ verdict: 'unverifiable', why }));
      launcher
        .adopt({ incarnation, handle, secret: bearerOf(secret) })
        .then(resolve, reject)
        .finally(() => deadline.cancel());
    });
  }

  /** The launcher's facts in the row's handle, for people to read. */
  factsOf({ launchHandle }: DaemonRow): LaunchFacts {
    return this.#deps.launcher.factsOf(launchHandle);
  }

  /**
   * How to reach the row's daemon: at the `address` that the launcher found, else at the stored address. Undefined without both.
   * @throws Error when the stored address cannot be used.
   */
  reachOf(row: DaemonRow, address: DaemonAddress | undefined): Reach | undefined {
    if (address !== undefined) return { address, secret: bearerOf(row.secret) };
    return row.address === null ? undefined : reachFrom({ address: row.address, secret: row.secret });
  }

  /** The identity answer from that address; undefined when another incarnation answers, or no process does. */
  async identityOf(at: Reach, incarnation: string): Promise<DaemonIdentity | undefined> {
    const { askIdentity, settings } = this.#deps;
    const shareMs = Math.ceil(settings.adoptTimeoutMs * QUESTION_SHARE);
    const identity = await askIdentity(at, Math.min(settings.probeTimeoutMs, shareMs));
    return identity?.incarnation === incarnation ? identity : undefined;
  }

  /**
   * Whether the row's start deadline is over, so that an interrupted start can make no daemon any more. The stored deadline is
   * wall-clock time, which may jump: it is read only by the first call for a row, and later calls use the monotonic clock.
   */
  isStartOver({ incarnation, startDeadlineAtMs }: DaemonRow): boolean {
    const { clock, settings } = this.#deps;
    const nowMs = clock.monotonicMs();
    const leftMs = Math.min(startDeadlineAtMs - clock.nowMs(), settings.startTimeoutMs);
    const deadline = this.#startDeadlines.get(incarnation) ?? nowMs + leftMs;
    this.#startDeadlines.set(incarnation, deadline);
    return nowMs >= deadline;
  }

  /** Drops the row's start deadline. Call it when the end of the row's daemon is recorded. */
  forget({ incarnation }: DaemonRow): void {
    this.#startDeadlines.delete(incarnation);
  }
}
