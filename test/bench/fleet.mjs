// What the coordinator costs: start and memory of its processes, and each call direct and through it.
import http from 'node:http';
import { createClient, round, summary, timed } from './client.mjs';
import { residentMiB, scratch, startCoordinator, startDaemon } from './processes.mjs';

const SETTLE_MS = 1500;
const LOAD_MS = 3000;

/** Rows of [what, value, unit]. */
export async function fleetBench() {
  const place = scratch('direct', 'one', 'two', 'run', 'state');
  try {
    return [...(await readiness(place)), ...(await idleMemory(place)), ...(await calls(place))];
  } finally {
    place.remove();
  }
}

async function readiness(place) {
  const times = [];
  for (let i = 0; i < 10; i++) {
    const daemon = await startDaemon(place.at('direct'));
    times.push(daemon.readyMs);
    await daemon.stop();
  }
  return [['daemon: spawn to listening, p50 of 10', summary(times).p50, 'ms']];
}

async function idleMemory(place) {
  const daemon = await startDaemon(place.at('direct'));
  const coordinator = await startCoordinator(place, [place.at('one'), place.at('two')]);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const rows = [
    ['daemon: resident, idle, no session yet', residentMiB(daemon.pid), 'MiB'],
    ['coordinator: resident, idle', residentMiB(coordinator.pid), 'MiB'],
  ];
  await daemon.stop();
  await coordinator.stop();
  return rows;
}

async function calls(place) {
  const daemon = await startDaemon(place.at('direct'), ['--max-sessions', '0']);
  const coordinator = await startCoordinator(
    place,
    [place.at('one'), place.at('two')],
    ['--max-sessions', '0'],
  );
  const cold = createClient(coordinator.baseUrl);
  const [firstMs] = await timed(1, () => create(cold, place.at('one')));
  cold.close();
  const direct = await sideOf(daemon.baseUrl, place.at('direct'));
  const through = await sideOf(coordinator.baseUrl, place.at('one'));
  const daemonPid = await pidOfDaemon(coordinator.baseUrl, place.at('one'));
  const rows = [
    ['coordinator: first create of a workspace (daemon and agent start)', round(firstMs), 'ms'],
    ...Object.keys(direct).flatMap((name) => [
      [`${name}, direct`, direct[name][0], direct[name][1]],
      [`${name}, through the coordinator`, through[name][0], through[name][1]],
    ]),
    ['coordinator: resident after the run', residentMiB(coordinator.pid), 'MiB'],
    ['daemon of the fleet: resident after the run', residentMiB(daemonPid), 'MiB'],
  ];
  await daemon.stop();
  await coordinator.stop();
  return rows;
}

async function sideOf(baseUrl, workspace) {
  const client = createClient(baseUrl);
  const { sessionId } = await create(client, workspace);
  const creates = await timed(50, () => create(client, workspace));
  const beats = await timed(300, () => client.call('POST', `/session/${sessionId}/heartbeat`, {}));
  let onDone = () => undefined;
  const events = await client.stream(sessionId, {
    onFrame: (frame) => frame.includes('event: turn_complete') && onDone(),
  });
  const turns = await timed(200, async () => {
    const done = new Promise((resolve) => {
      onDone = resolve;
    });
    await client.call('POST', `/session/${sessionId}/prompt`, { prompt: [{ type: 'text', text: 'N:1:20' }] });
    await done;
  });
  events.close();
  const rate = await load(baseUrl, `/session/${sessionId}/status`, 32);
  client.close();
  return {
    'create p50': [summary(creates).p50, 'ms'],
    'heartbeat p50': [summary(beats).p50, 'ms'],
    'prompt round trip p50': [summary(turns).p50, 'ms'],
    'GET status, 32 connections': [Math.round(rate), 'requests/s'],
  };
}

function create(client, cwd) {
  return client.call('POST', '/session', { cwd, sessionScope: 'thread' });
}

async function pidOfDaemon(baseUrl, cwd) {
  const client = createClient(baseUrl);
  const { workspaces } = await client.call('GET', '/admin/diagnostics');
  client.close();
  return workspaces.find((workspace) => workspace.cwd === cwd).pid;
}

/** Requests per second over `connections` keep-alive connections, each with one request under way. Bounded in time. */
async function load(baseUrl, path, connections) {
  const { hostname: host, port } = new URL(baseUrl);
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const end = performance.now() + LOAD_MS;
  let count = 0;
  const worker = async () => {
    while (performance.now() < end) {
      await new Promise((resolve, reject) => {
        http
          .get({ host, port, path, agent }, (res) => {
            res.resume();
            res.on('end', resolve);
          })
          .on('error', reject);
      });
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: connections }, worker));
  agent.destroy();
  return (count / LOAD_MS) * 1000;
}
