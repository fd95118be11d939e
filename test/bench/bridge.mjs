// One server that speaks the protocol, ours or the peer: the same client, the same agent, the same measures.
import { createClient, summary, timed } from './client.mjs';
import { residentMiB } from './processes.mjs';

const TURN_LIMIT_MS = 60_000;
/** One round differs as much from the next as one server from the other. */
const PACED_ROUNDS = 7;

/** Measures `server` ({baseUrl, pid}) over `workspace`. Returns an object of figures. */
export async function bridgeBench(server, workspace) {
  const client = createClient(server.baseUrl);
  const create = () => client.call('POST', '/session', { cwd: workspace, sessionScope: 'thread' });
  const close = ({ sessionId }) => client.call('DELETE', `/session/${sessionId}`);
  const figures = { 'resident idle, MiB': residentMiB(server.pid) };
  await close(await create());
  const keep = await create();
  figures['create p50, ms'] = summary(await timed(20, async () => close(await create()))).p50;
  const beat = () => client.call('POST', `/session/${keep.sessionId}/heartbeat`, {});
  figures['heartbeat p50, ms'] = summary(await timed(300, beat)).p50;
  figures['prompt round trip p50, ms'] = summary(await roundTrips(client, keep.sessionId, 100)).p50;
  for (const readers of [1, 10]) {
    const rates = await bursts(client, create, close, readers);
    const name = `burst of 1500, ${readers} reader(s), deliveries/s`;
    figures[`${name}, first 5`] = Math.round(median(rates.slice(0, 5)));
    figures[`${name}, of 21`] = Math.round(median(rates));
  }
  const rounds = [];
  for (let i = 0; i < PACED_ROUNDS; i++) rounds.push(await paced(client, create, close));
  figures['20 paced streams x 2 readers p50, ms'] = median(rounds.map(({ p50 }) => p50));
  figures['20 paced streams x 2 readers p99, ms'] = median(rounds.map(({ p99 }) => p99));
  figures['readers lost'] = rounds.reduce((sum, { evicted }) => sum + evicted, 0);
  figures['resident after, MiB'] = residentMiB(server.pid);
  await close(keep);
  client.close();
  return figures;
}

/** Sends a prompt; resolves when the function that `whenDone` was given is called. */
async function turn(client, sessionId, text, whenDone) {
  let timer;
  const done = new Promise((resolve, reject) => {
    whenDone(resolve);
    timer = setTimeout(() => reject(new Error(`no end of "${text}"`)), TURN_LIMIT_MS);
  });
  await client.call('POST', `/session/${sessionId}/prompt`, { prompt: [{ type: 'text', text }] });
  await done;
  clearTimeout(timer);
}

/** Readers of one session; `turn` sends a prompt and resolves when every reader has seen its end. */
async function follow(client, sessionId, readers, { query = '', onUpdate = () => undefined } = {}) {
  let finished = () => undefined;
  let ended = 0;
  const state = { events: 0, evicted: 0 };
  const endOne = () => {
    ended += 1;
    if (ended === readers) finished();
  };
  const streams = await Promise.all(
    Array.from({ length: readers }, () =>
      client.stream(sessionId, {
        query,
        onFrame(frame, now) {
          if (frame.includes('event: session_update')) {
            state.events += 1;
            onUpdate(frame, now);
          } else if (frame.includes('event: turn_complete')) endOne();
          else if (frame.includes('event: client_evicted')) {
            state.evicted += 1;
            endOne();
          }
        },
      }),
    ),
  );
  return {
    state,
    turn(text) {
      ended = 0;
      return turn(client, sessionId, text, (done) => {
        finished = done;
      });
    },
    close: () => {
      for (const stream of streams) stream.close();
    },
  };
}

async function roundTrips(client, sessionId, count) {
  const readers = await follow(client, sessionId, 1);
  const times = await timed(count, () => readers.turn('N:1:20'));
  readers.close();
  return times;
}

const UPDATE = 'event: session_update\n';
const END = 'event: turn_complete\n';

/** Readers that only count, so that the client on the same two cores is not what is measured. As `follow`, without evictions. */
async function followCounting(client, sessionId, readers) {
  let events = 0;
  let ended = 0;
  let finished = () => undefined;
  const reader = () => {
    let held = '';
    return (chunk) => {
      const text = held + chunk;
      const whole = text.lastIndexOf('\n') + 1;
      for (let at = text.indexOf(UPDATE); at >= 0; at = text.indexOf(UPDATE, at + UPDATE.length)) events += 1;
      if (text.includes(END)) ended += 1;
      if (ended === readers) finished();
      held = text.slice(whole);
    };
  };
  const streams = await Promise.all(
    Array.from({ length: readers }, () =>
      client.stream(sessionId, { query: '?maxQueued=2048', onText: reader() }),
    ),
  );
  return {
    events: () => events,
    turn: (text) =>
      turn(client, sessionId, text, (done) => {
        finished = done;
      }),
    close: () => {
      for (const stream of streams) stream.close();
    },
  };
}

/** Rates of 21 bursts, each to fresh readers of a fresh session: the first ones are what a server does that has just started. */
async function bursts(client, create, close, count) {
  const rates = [];
  for (let i = 0; i < 21; i++) {
    const session = await create();
    const readers = await followCounting(client, session.sessionId, count);
    const start = performance.now();
    await readers.turn('N:1500:60');
    rates.push((readers.events() / (performance.now() - start)) * 1000);
    readers.close();
    await close(session);
  }
  return rates;
}

/** Of an odd number of values. */
function median(values) {
  return [...values].sort((a, b) => a - b)[(values.length - 1) / 2];
}

/** Latency from the agent's clock, which it writes into each chunk, to ours. */
async function paced(client, create, close) {
  const latencies = [];
  const onUpdate = (frame, now) => {
    const sentAt = /\d+@([\d.]+)\|/.exec(frame)?.[1];
    if (sentAt !== undefined) latencies.push(now - Number(sentAt));
  };
  const sessions = await Promise.all(Array.from({ length: 20 }, create));
  const followed = await Promise.all(
    sessions.map(({ sessionId }) => follow(client, sessionId, 2, { onUpdate })),
  );
  await Promise.all(followed.map((readers) => readers.turn('N:200:60:10')));
  const evicted = followed.reduce((sum, { state }) => sum + state.evicted, 0);
  for (const readers of followed) readers.close();
  await Promise.all(sessions.map(close));
  return { ...summary(latencies), evicted };
}
