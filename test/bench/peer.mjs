// The daemon beside the stock server: same agent, same client, same Node, one run. The agent keeps its transcripts itself, as the
// stock server needs it to; once more with one that does not, for which the daemon writes them and the stock server has none.
import { bridgeBench } from './bridge.mjs';
import { round } from './client.mjs';
import { PEER_INSTALL, peerNode, scratch, startDaemon, startPeer } from './processes.mjs';

/** Rows of [what, ours, peer, ratio, ours when it writes the transcripts], or a line that says how to get the peer. */
export async function peerBench() {
  const node = peerNode();
  if (node === undefined) return `peer: not installed, not measured. To compare: ${PEER_INSTALL}`;
  const place = scratch('ws', 'home');
  try {
    // First, so that the client is as warm for the peer as it is for us.
    const writing = await ourFigures(place, node, false);
    const theirs = await measured(await startPeer(node, place, place.at('ws')), place.at('ws'));
    const ours = await ourFigures(place, node, true);
    return Object.keys(ours).map((name) => [
      name,
      ours[name],
      theirs[name],
      round(ours[name] / theirs[name]),
      writing[name],
    ]);
  } finally {
    place.remove();
  }
}

async function ourFigures(place, node, agentKeepsTranscripts) {
  const variable = 'STUB_AGENT_TRANSCRIPTS';
  if (agentKeepsTranscripts) process.env[variable] = '1';
  const daemon = await startDaemon(place.at('ws'), ['--max-sessions', '256'], node);
  delete process.env[variable];
  return measured(daemon, place.at('ws'));
}

/** What a server has loaded a while after its start counts as its idle memory; the daemon has loaded everything by then. */
const SETTLE_MS = 7000;

async function measured(server, workspace) {
  try {
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    return { 'spawn to listening, ms': round(server.readyMs), ...(await bridgeBench(server, workspace)) };
  } finally {
    await server.stop();
  }
}
