// What a crash of the coordinator costs: kill -9 under many running daemons, and how long until each one answers again.
import { createClient } from './client.mjs';
import { scratch, startCoordinator } from './processes.mjs';

const DAEMONS = 50;
const AT_ONCE = 4;
const ROUNDS = 3;
const POLL_MS = 5;
const GIVE_UP_MS = 60_000;

/** Rows of [what, value, unit]. */
export async function adoptionBench() {
  const names = Array.from({ length: DAEMONS }, (_, index) => `ws-${index}`);
  const place = scratch('run', 'state', ...names);
  const paths = names.map(place.at);
  let coordinator = await startCoordinator(place, paths);
  try {
    const sessions = await createIn(coordinator.baseUrl, paths);
    const rows = [];
    for (let round = 1; round <= ROUNDS; round += 1) {
      await killed(coordinator.pid);
      coordinator = await startCoordinator(place, paths);
      const adoptedMs = await untilAnswered(coordinator.baseUrl, sessions);
      rows.push([`round ${round}: spawn to listening`, Math.round(coordinator.readyMs), 'ms']);
      rows.push([`round ${round}: listening to ${DAEMONS} heartbeats answered`, Math.round(adoptedMs), 'ms']);
    }
    return rows;
  } finally {
    await coordinator.stop();
    place.remove();
  }
}

async function createIn(baseUrl, paths) {
  const client = createClient(baseUrl);
  const queue = [...paths];
  const sessions = [];
  const worker = async () => {
    for (let cwd = queue.shift(); cwd !== undefined; cwd = queue.shift())
      sessions.push(await client.call('POST', '/session', { cwd }));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  client.close();
  return sessions;
}

async function killed(pid) {
  process.kill(pid, 'SIGKILL');
  while (isThere(pid)) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

function isThere(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** All at once. A daemon under adoption lets its requests wait, so one try is enough. */
async function untilAnswered(baseUrl, sessions) {
  const client = createClient(baseUrl);
  const startedAt = performance.now();
  const late = setTimeout(() => client.close(), GIVE_UP_MS);
  await Promise.all(
    sessions.map(({ sessionId }) => client.call('POST', `/session/${sessionId}/heartbeat`, {})),
  );
  clearTimeout(late);
  client.close();
  return performance.now() - startedAt;
}
