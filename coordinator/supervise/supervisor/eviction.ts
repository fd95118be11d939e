// Eviction: when a limit is reached, ends the daemon that was used least recently among those that are provably idle.
import { workOf } from '../../domain/idle-policy.ts';
import type { DaemonController } from '../daemon/controller.ts';
import type { RoomReport } from '../fleet.ts';

export interface EvictionDeps {
  readonly controllers: () => Iterable<DaemonController>;
  readonly isPinned: (workspaceId: string) => boolean;
  readonly nowMs: () => number;
  readonly onEvicted: (workspaceId: string, why: string) => void;
}

/** The purpose for which room is made by an eviction. `why` goes into the event row. */
export interface RoomWish {
  /** `daemon`: any daemon may be evicted. `session`: only a daemon with sessions, because only its end makes room for one. */
  readonly kind: 'daemon' | 'session';
  readonly forWorkspaceId: string;
  readonly why: string;
}

/** Begins to end one idle daemon. @returns a promise that resolves when it is gone; undefined when no daemon can be ended. */
export function makeRoom(
  deps: EvictionDeps,
  { kind, forWorkspaceId, why }: RoomWish,
): Promise<void> | undefined {
  const idle = [...deps.controllers()]
    .filter(({ workspace }) => workspace.id !== forWorkspaceId)
    .map((controller) => ({ controller, facts: factsOf(deps, controller) }))
    .filter(({ facts }) => facts !== undefined && workOf(facts) === undefined && facts.subscribers === 0)
    .filter(({ facts }) => kind === 'daemon' || (facts?.sessions ?? 0) > 0)
    .sort((a, b) => (b.facts?.sinceGestureMs ?? 0) - (a.facts?.sinceGestureMs ?? 0));
  const victim = idle[0]?.controller;
  if (victim === undefined) return undefined;
  return evict(deps, victim, why);
}

async function evict(deps: EvictionDeps, victim: DaemonController, why: string): Promise<void> {
  if (await victim.stopIdle(why)) deps.onEvicted(victim.workspace.id, why);
}

/** The reasons for which running daemons cannot be evicted, for a refusal at the limit. */
export function roomReport(deps: EvictionDeps): RoomReport {
  const kept = [...deps.controllers()].flatMap((controller) => {
    const facts = factsOf(deps, controller);
    const reason = facts === undefined ? 'it is starting, stopping or not reporting' : workOf(facts);
    const watched = facts !== undefined && facts.subscribers > 0 ? 'clients are watching' : undefined;
    const why = reason ?? watched;
    return controller.current === undefined || why === undefined
      ? []
      : [{ workspaceId: controller.workspace.id, reason: why }];
  });
  return { evictable: [], kept };
}

function factsOf(deps: EvictionDeps, controller: DaemonController) {
  // While the daemon's feed is down it is not known whether the daemon has work.
  if (!controller.isReady || controller.current?.feed?.isUp !== true) return undefined;
  return controller.current.facts.idleFacts(deps.nowMs(), deps.isPinned(controller.workspace.id));
}
