// Looking for the daemon of a row that an earlier coordinator wrote: whether it runs, what answers at its address, and until when
// an interrupted start may still succeed. Each look has a deadline.
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { DaemonIdentity } from '../../../daemon/contract/control.ts';
import type { Launcher, LaunchFacts, Whereabouts } from '../../launch/launcher.ts';
import type { DaemonRow } from '../../store/store.ts';
import { bearerOf, type DaemonAddress, type Reach, reachFrom } from '../../upstream/address.ts';
import type { AskIdentity } from '../daemon/link.ts';
import type { SuperviseSettings } from '../settings.ts';

/** Share of an adoption's time in which a daemon that was found may say its version; it is adopted without that too. */
const QUESTION_SHARE = 0.3;

export interface DaemonSearchDeps {
  readonly launcher: Pick<Launcher, 'adopt' | 'factsOf'>;
  readonly askIdentity: AskIdentity;
  readonly clock: Clock;
  readonly settings: Pick<SuperviseSettings, 'adoptTimeoutMs' | 'probeTimeoutMs' | 'startTimeoutMs'>;
}

export class DaemonSearch {
  readonly #deps: DaemonSearchDeps;
  /** Monotonic times until which interrupted starts may still succeed, by incarnation. */
  readonly #startDeadlines = new Map<string, number>();

  constructor(deps: DaemonSearchDeps) {
    this.#deps = deps;
  }

  /** What became of the row's daemon; a daemon that the launcher cannot judge within `adoptTimeoutMs` is unverifiable. */
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

  /** What the row's handle says of the daemon for people to read. */
  factsOf({ launchHandle }: DaemonRow): LaunchFacts {
    return this.#deps.launcher.factsOf(launchHandle);
  }

  /**
   * Where the row's daemon answers: at the launcher's `address`, else at the stored one. Undefined where neither is known.
   * @throws Error when the stored address cannot be used.
   */
  reachOf(row: DaemonRow, address: DaemonAddress | undefined): Reach | undefined {
    if (address !== undefined) return { address, secret: bearerOf(row.secret) };
    return row.address === null ? undefined : reachFrom({ address: row.address, secret: row.secret });
  }

  /** The identity of the daemon at that address; undefined when it is not this incarnation, or nothing answers. */
  async identityOf(at: Reach, incarnation: string): Promise<DaemonIdentity | undefined> {
    const { askIdentity, settings } = this.#deps;
    const shareMs = Math.ceil(settings.adoptTimeoutMs * QUESTION_SHARE);
    const identity = await askIdentity(at, Math.min(settings.probeTimeoutMs, shareMs));
    return identity?.incarnation === incarnation ? identity : undefined;
  }

  /**
   * Whether an interrupted start can succeed no more. The stored deadline is wall-clock time, of use once: from the first
   * question on time is counted on a clock that cannot jump.
   */
  isStartOver({ incarnation, startDeadlineAtMs }: DaemonRow): boolean {
    const { clock, settings } = this.#deps;
    const nowMs = clock.monotonicMs();
    const leftMs = Math.min(startDeadlineAtMs - clock.nowMs(), settings.startTimeoutMs);
    const deadline = this.#startDeadlines.get(incarnation) ?? nowMs + leftMs;
    this.#startDeadlines.set(incarnation, deadline);
    return nowMs >= deadline;
  }

  /** The end of the row's daemon is recorded: the row is not looked at again. */
  forget({ incarnation }: DaemonRow): void {
    this.#startDeadlines.delete(incarnation);
  }
}
