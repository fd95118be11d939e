// The built fleet with an agent whose children try every known way to get away: whatever ends, whatever it is that ends,
// nothing of a daemon's tree is left once the daemon is gone.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { probeCgroups } from '../../coordinator/launch/cgroup-probe.ts';
import { readCgroupPath } from '../../daemon/contract/proc.ts';
import { ESCAPES, escapedIn, escapingAgent } from '../support/escapes.ts';
import { eventually } from '../support/eventually.ts';
import { coordinatorProcess, endFleets, type Server, stubAgent } from '../support/fleet-process.ts';
import { isRunning, Scratch, signalPid } from '../support/scratch.ts';
import { newSession } from '../support/wire-client.ts';

const HIDDEN = ESCAPES.filter(({ isHidden }) => isHidden).map(({ name }) => name);
/** Where the agent may be dead before anybody looks: killed, or ended with its stdin when its daemon was killed. */
const HIDDEN_BY_DEATH = [
  ...HIDDEN,
  ...ESCAPES.filter(({ isHiddenWithParent }) => isHiddenWithParent).map(({ name }) => name),
];
const escaped: number[] = [];

afterEach(async () => {
  // The hidden ones, where there is no cgroup: their pids are their own words, a moment ago.
  const left = escaped.splice(0).filter(isRunning);
  for (const pid of left) process.kill(pid, 'SIGKILL');
  await eventually('the end of the hidden', () => !left.some(isRunning));
  await endFleets();
});

interface World {
  readonly scratch: Scratch;
  readonly flags: readonly string[];
  start(): Promise<Server>;
}

function worldWith(flags: readonly string[]): World {
  const scratch = new Scratch(1);
  const script = join(scratch.dir, 'agent.sh');
  writeFileSync(script, escapingAgent(stubAgent(), join(scratch.dir, 'escaped.log')));
  const start = () => coordinatorProcess({ scratch, agent: `bash ${script}`, flags }).up();
  return { scratch, flags, start };
}

/** A coordinator with a session, and everything that its agent has let loose, by name. */
async function fleetIn(world: World): Promise<{ server: Server; pids: ReadonlyMap<string, number> }> {
  const server = await world.start();
  await newSession(server.baseUrl, server.workspace);
  const pids = await eventually('the escapes', () => {
    const log = join(world.scratch.dir, 'escaped.log');
    const found = existsSync(log) ? escapedIn(readFileSync(log, 'utf8')) : new Map<string, number>();
    return found.size === ESCAPES.length + 1 && found;
  });
  escaped.push(...pids.values());
  return { server, pids };
}

async function killOf(server: Server, whom: 'daemon' | 'agent'): Promise<void> {
  const { pid, agent } = await server.diagnosis(0);
  signalPid(whom === 'daemon' ? pid : agent?.pid, 'SIGKILL');
}

type Ends = Readonly<Record<string, (server: Server, world: World) => Promise<void>>>;

/** Each ends the daemon in its own way, while its agent lives. */
const ENDS: Ends = {
  async 'the coordinator is stopped'(server) {
    await server.stop();
  },
  async 'a second signal cuts the stop short'(server) {
    server.signal('SIGTERM');
    server.signal('SIGTERM');
    await server.ended();
  },
  async 'the coordinator is killed and the next one is stopped'(server, world) {
    await server.kill();
    await (await world.start()).stop();
  },
};

/** The agent is dead before its daemon ends. */
const DEATHS: Ends = {
  async 'the daemon is killed'(server) {
    await killOf(server, 'daemon');
    await eventually('the end of the daemon', async () => (await server.diagnosis(0)).state !== 'ready');
  },
  async 'the agent is killed, then the coordinator is stopped'(server) {
    await killOf(server, 'agent');
    await server.stop();
  },
  async 'coordinator and daemon are killed and the next one starts'(server, world) {
    const { pid } = await server.diagnosis(0);
    await server.kill();
    signalPid(pid, 'SIGKILL');
    await world.start();
  },
};

const probe = probeCgroups();
const MODES = [
  { mode: 'without cgroups', flags: ['--without-cgroups'], isTable: true },
  ...(probe.isUsable ? [{ mode: 'in a cgroup', flags: [], isTable: false }] : []),
];

describe.each(MODES)('$mode', ({ flags, isTable }) => {
  const endings = [
    ...Object.entries(ENDS).map(([name, end]) => ({ name, end, hidden: HIDDEN })),
    ...Object.entries(DEATHS).map(([name, end]) => ({ name, end, hidden: HIDDEN_BY_DEATH })),
  ];
  test.each(endings)('nothing that can be found is left when $name', async ({ end, hidden }) => {
    const world = worldWith(flags);
    const { server, pids } = await fleetIn(world);
    await end(server, world);
    const excused = isTable ? hidden : [];
    const left = () => [...pids].filter(([, pid]) => isRunning(pid)).map(([name]) => name);
    const unexcused = () => left().filter((name) => !excused.includes(name));
    await eventually('the end of the tree', () => unexcused().length === 0).catch(() => undefined);
    expect(unexcused()).toEqual([]);
  });
});

const inCgroup = probe.isUsable ? test : test.skip;
inCgroup(
  'a killed agent’s tree ends at once but for the hidden ones, which end with the daemon',
  async () => {
    const { server, pids } = await fleetIn(worldWith([]));
    const { pid } = await server.diagnosis(0);
    expect(new Set([...pids.values()].map(readCgroupPath))).toEqual(new Set([readCgroupPath(pid ?? 0)]));
    await killOf(server, 'agent');
    const left = () => [...pids].filter(([, child]) => isRunning(child)).map(([name]) => name);
    await eventually('the end of the tree', () => left().length <= HIDDEN_BY_DEATH.length);
    expect(left().sort()).toEqual([...HIDDEN_BY_DEATH].sort());
    expect(isRunning(pid ?? 0)).toBe(true);
    await server.stop();
    expect(left()).toEqual([]);
  },
);
