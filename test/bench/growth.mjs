// Whether the cost of an event stays flat as history and sessions grow, and memory within the ring.
import { createClient, round } from './client.mjs';
import { residentMiB, scratch, startDaemon } from './processes.mjs';

const EVENTS_PER_STEP = 1000;

/** Rows of [what, value, unit]. */
export async function growthBench() {
  const place = scratch('ws');
  const daemon = await startDaemon(place.at('ws'), ['--max-sessions', '0', '--max-connections', '0']);
  const client = createClient(daemon.baseUrl);
  try {
    return [
      ...(await oneSession(client, daemon, place.at('ws'))),
      ...(await manySessions(client, daemon, place.at('ws'))),
    ];
  } finally {
    client.close();
    await daemon.stop();
    place.remove();
  }
}

async function oneSession(client, daemon, workspace) {
  const session = await follow(client, workspace);
  const rows = [];
  let events = 0;
  for (const until of [1000, 10_000, 30_000, 100_000]) {
    const start = performance.now();
    const before = events;
    while (events < until) {
      await session.turn(`N:${EVENTS_PER_STEP}:60`);
      events += EVENTS_PER_STEP;
    }
    const us = ((performance.now() - start) / (events - before)) * 1000;
    rows.push([`one session, to event ${until}`, round(us), 'us/event']);
    rows.push([`one session, resident at event ${until}`, residentMiB(daemon.pid), 'MiB']);
  }
  session.close();
  return rows;
}

async function manySessions(client, daemon, workspace) {
  const rows = [];
  const sessions = [];
  for (const count of [1, 10, 50, 200]) {
    while (sessions.length < count) sessions.push(await follow(client, workspace));
    const each = Math.max(EVENTS_PER_STEP, Math.ceil(20_000 / count));
    const start = performance.now();
    await Promise.all(sessions.map((session) => session.turn(`N:${each}:60`)));
    const us = ((performance.now() - start) / (each * count)) * 1000;
    rows.push([`${count} session(s) at once`, round(us), 'us/event']);
  }
  rows.push(['200 sessions, resident', residentMiB(daemon.pid), 'MiB']);
  for (const session of sessions) session.close();
  return rows;
}

async function follow(client, cwd) {
  const { sessionId } = await client.call('POST', '/session', { cwd, sessionScope: 'thread' });
  let done = () => undefined;
  const stream = await client.stream(sessionId, {
    onFrame: (frame) => frame.includes('event: turn_complete') && done(),
  });
  return {
    close: stream.close,
    async turn(text) {
      const ended = new Promise((resolve) => {
        done = resolve;
      });
      await client.call('POST', `/session/${sessionId}/prompt`, { prompt: [{ type: 'text', text }] });
      await ended;
    },
  };
}
