// Looking for the daemon of a row that an earlier coordinator wrote: where it is, who answers there, and until when a start that
// was interrupted may still succeed. Each look has a deadline.
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { DaemonIdentity } from '../../../daemon/contract/control.ts';
import type { Launcher, LaunchFacts, Whereabouts } from '../../launch/launcher.ts';
import type { DaemonRow } from '../../store/store.ts';
import { bearerOf, type DaemonAddress, type Reach, reachFrom } from '../../upstream/address.ts';
import type { AskIdentity } from '../daemon/link.ts';
import type { SuperviseSettings } from '../settings.ts';

/** Share of the time for an adoption in which a daemon that was found has to say what it is; it may do without. */
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

  /** What became of the row's daemon; what cannot be told within `adoptTimeoutMs` is unverifiable. */
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

  /** What the row tells of its daemon for people to read. */
  factsOf({ launchHandle }: DaemonRow): LaunchFacts {
    return this.#deps.launcher.factsOf(launchHandle);
  }

  /**
   * Where the row's daemon answers: as its launcher says (`address`), else as the row does. Undefined where neither knows.
   * @throws Error when the stored address cannot be used.
   */
  reachOf(row: DaemonRow, address: DaemonAddress | undefined): Reach | undefined {
    if (address !== undefined) return { address, secret: bearerOf(row.secret) };
    return row.address === null ? undefined : reachFrom({ address: row.address, secret: row.secret });
  }

  /** What answers there as this incarnation; undefined when nothing does. */
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

  /** The row's end is recorded: nothing more is asked of it. */
  forget({ incarnation }: DaemonRow): void {
    this.#startDeadlines.delete(incarnation);
  }
}
