// What the conformance suites run against: a stand-alone daemon, and a coordinator with two workspaces. To a client both
// are one server.
import { type Server, type ServerOptions, startCoordinator, startDaemon } from './fleet-process.ts';

export interface Target {
  readonly name: string;
  readonly isFleet: boolean;
  start(options?: ServerOptions): Promise<Server>;
}

export const BARE_DAEMON: Target = { name: 'a bare daemon', isFleet: false, start: startDaemon };
export const FLEET: Target = { name: 'a coordinator', isFleet: true, start: startCoordinator };

/** For `describe.each`: the name comes first. */
export const TARGETS: readonly (readonly [string, Target])[] = [BARE_DAEMON, FLEET].map((target) => [
  target.name,
  target,
]);
