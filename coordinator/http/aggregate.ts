// Figures of the whole fleet, added up from the daemons' last beats. Asks no daemon and starts none.
import type { DaemonView } from '../supervise/fleet.ts';

/** The figures under the wire protocol's names: `GET /health?deep=1` and `GET /admin/diagnostics` send them as they are. */
export interface FleetFigures {
  readonly sessions: number;
  readonly pendingPermissions: number;
  readonly activePrompts: number;
  readonly activeWork: boolean;
  /** Whether all, some or none of the running daemons have sent a beat; `full` also when no daemon runs. */
  readonly activeWorkReporting: 'full' | 'partial' | 'none';
  /** Age of the oldest of the daemons' last beats, milliseconds; 0 without any beat. */
  readonly activeWorkStaleMs: number;
  readonly connectedClients: number;
  readonly channelAlive: boolean;
  readonly lastActivityAt: string | null;
  /** Milliseconds since any daemon's last activity; null while a prompt runs or is queued, and before the first activity. */
  readonly idleSinceMs: number | null;
}

const RUNNING = new Set<DaemonView['state']>(['ready', 'draining']);

/**
 * Adds up the last beats of the daemons that are ready or draining.
 * @param nowMs epoch milliseconds, on the clock that the beats were stamped with.
 */
export function fleetFigures(views: readonly DaemonView[], nowMs: number): FleetFigures {
  const running = views.filter((view) => RUNNING.has(view.state));
  const beats = running.flatMap((view) => (view.lastBeat === null ? [] : [view.lastBeat]));
  const total = (pick: (beat: (typeof beats)[number]) => number) =>
    beats.reduce((sum, beat) => sum + pick(beat), 0);
  const activity = beats.flatMap((beat) => (beat.lastActivityAtMs === null ? [] : [beat.lastActivityAtMs]));
  const lastActivityAtMs = activity.length === 0 ? null : Math.max(...activity);
  const activePrompts = total((beat) => beat.activePrompts);
  const activeWork = activePrompts > 0 || total((beat) => beat.queuedPrompts) > 0;
  return {
    sessions: total((beat) => beat.sessions),
    pendingPermissions: total((beat) => beat.pendingPermissions),
    activePrompts,
    activeWork,
    activeWorkReporting: reporting(running.length, beats.length),
    activeWorkStaleMs: Math.max(0, ...beats.map((beat) => nowMs - beat.atMs)),
    connectedClients: total((beat) => beat.subscribers),
    channelAlive: running.some((view) => view.agent !== null),
    lastActivityAt: lastActivityAtMs === null ? null : new Date(lastActivityAtMs).toISOString(),
    idleSinceMs: activeWork || lastActivityAtMs === null ? null : Math.max(0, nowMs - lastActivityAtMs),
  };
}

function reporting(running: number, reported: number): FleetFigures['activeWorkReporting'] {
  if (reported === running) return 'full';
  return reported === 0 ? 'none' : 'partial';
}
