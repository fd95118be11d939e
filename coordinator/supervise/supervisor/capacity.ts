// Enforces the limits on running and starting daemons: whether one more may start, and which idle daemon is ended to make room.
import type { Clock } from '../../../daemon/contract/clock.ts';
import { admitDaemon } from '../../domain/admission.ts';
import type { Refusal } from '../../domain/refusal.ts';
import type { Workspaces } from '../../store/store.ts';
import type { StartConditions } from '../daemon/demand.ts';
import { StartGate } from '../daemon/start-gate.ts';
import type { RoomReport, WorkspaceKey } from '../fleet.ts';
import type { EventJournal } from '../records/event-journal.ts';
import { shuttingDown } from '../refusals.ts';
import type { SuperviseSettings } from '../settings.ts';
import type { Controllers } from './controllers.ts';
import { type EvictionDeps, makeRoom, roomReport } from './eviction.ts';
import type { HeldWorkspaces } from './held-workspaces.ts';

export interface CapacityDeps {
  readonly controllers: Pick<Controllers, 'all'>;
  readonly held: HeldWorkspaces;
  readonly workspaces: Pick<Workspaces, 'settings'>;
  readonly journal: Pick<EventJournal, 'note'>;
  readonly clock: Clock;
  readonly settings: Pick<SuperviseSettings, 'maxDaemons' | 'maxConcurrentStarts' | 'stopGraceMs'>;
  /** Whether the coordinator stops: then no daemon is started any more. */
  readonly isClosing: () => boolean;
}

export class Capacity {
  readonly #deps: CapacityDeps;
  readonly #startGate: StartGate;
  readonly #eviction: EvictionDeps;

  constructor(deps: CapacityDeps) {
    const { controllers, workspaces, clock, journal, settings } = deps;
    this.#deps = deps;
    this.#startGate = new StartGate(settings.maxConcurrentStarts);
    this.#eviction = {
      controllers: () => controllers.all(),
      isPinned: (id) => workspaces.settings(id).isPinned,
      nowMs: () => clock.monotonicMs(),
      onEvicted: (workspaceId, why) =>
        journal.note({ kind: 'daemon_evicted', workspaceId, detail: { why, next: { state: 'stopped' } } }),
    };
  }

  /** The conditions, apart from the workspace's own state, under which this workspace's daemon may start. */
  conditionsOf({ id, path }: WorkspaceKey): StartConditions {
    const { settings, workspaces } = this.#deps;
    const why = `evicted to make room for ${path} (--max-daemons is ${settings.maxDaemons})`;
    return {
      startGate: this.#startGate,
      admit: () => this.#refusal(),
      makeRoom: () => makeRoom(this.#eviction, { kind: 'daemon', forWorkspaceId: id, why }),
      operatorSettings: () => workspaces.settings(id),
    };
  }

  /** As `Fleet.makeSessionRoom`. */
  makeSessionRoom(forWorkspaceId: string, limit: number): Promise<void> | undefined {
    const why = `evicted to make room for a session elsewhere (--max-total-sessions is ${limit})`;
    return makeRoom(this.#eviction, { kind: 'session', forWorkspaceId, why });
  }

  /** As `Fleet.roomReport`. */
  report(): RoomReport {
    return roomReport(this.#eviction);
  }

  /** Why no further daemon may start now; undefined when a start is allowed. @throws ApiError 503 while the coordinator stops. */
  #refusal(): Refusal | undefined {
    if (this.#deps.isClosing()) throw shuttingDown();
    const { controllers, held, settings } = this.#deps;
    const occupied = controllers.all().map(({ occupancy }) => occupancy);
    const unverified = held.list().map(({ mayRun }) => ({ state: 'failed' as const, hasProcess: mayRun }));
    const refusal = admitDaemon(settings.maxDaemons, [...occupied, ...unverified], settings.stopGraceMs);
    return refusal && { ...refusal, context: { ...refusal.context, ...this.report() } };
  }
}
