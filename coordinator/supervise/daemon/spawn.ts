// Makes a new incarnation: plans its handle, commits its row, then has the launcher start the daemon.
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../../daemon/contract/clock.ts';
import { messageOf } from '../../../daemon/contract/errors.ts';
import type { BridgeSettings } from '../../../daemon/contract/handshake.ts';
import type { Launch, Launcher } from '../../launch/launcher.ts';
import type { Daemons } from '../../store/store.ts';
import type { WorkspaceKey } from '../fleet.ts';
import type { Next } from './daemon-end.ts';

export interface SpawnerDeps {
  readonly daemons: Pick<Daemons, 'nextIncarnation' | 'insertStarting' | 'setEnded'>;
  readonly launcher: Pick<Launcher, 'plan' | 'start'>;
  readonly clock: Clock;
  readonly bridge: BridgeSettings;
  readonly startTimeoutMs: number;
}

/** The daemon that is to be started. */
export interface SpawnWish {
  readonly workspace: WorkspaceKey;
  /** Program and arguments of the daemon; undefined for the configured command. */
  readonly command: readonly string[] | undefined;
  /** What follows when no process can be made, for the event row of the failed start. */
  readonly nextAfter: (error: unknown) => Next;
}

export interface Spawned extends Launch {
  /** The secret that the daemon was given and demands of requests. */
  readonly secret: string;
}

export class Spawner {
  readonly #deps: SpawnerDeps;

  constructor(deps: SpawnerDeps) {
    this.#deps = deps;
  }

  /**
   * Starts the workspace's next incarnation.
   * @throws the store's ApiError 507, or the launcher's Error; then there is no daemon, and its row, if any, is ended.
   */
  spawn({ workspace, command, nextAfter }: SpawnWish): Spawned {
    const { daemons, launcher, clock, bridge, startTimeoutMs } = this.#deps;
    const plan = { workspaceId: workspace.id, incarnation: daemons.nextIncarnation(workspace.id) };
    const launchHandle = launcher.plan(plan);
    const secret = randomBytes(32).toString('base64url');
    const nowMs = clock.nowMs();
    daemons.insertStarting({
      ...plan,
      launchHandle,
      secret,
      createdAtMs: nowMs,
      startDeadlineAtMs: nowMs + startTimeoutMs,
    });
    try {
      const spec = { ...plan, workspacePath: workspace.path, secret, bridge, ...(command && { command }) };
      return { ...launcher.start(launchHandle, spec), secret };
    } catch (error) {
      const reason = `no process could be made: ${messageOf(error)}`;
      daemons.setEnded(plan.incarnation, {
        atMs: clock.nowMs(),
        code: null,
        signal: null,
        reason,
        kind: 'died',
        event: { kind: 'start_failed', detail: { next: nextAfter(error) } },
      });
      throw new Error(reason, { cause: error });
    }
  }
}
