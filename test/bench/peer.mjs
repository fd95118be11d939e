// The daemon beside the stock server: same agent, same client, same Node, one run.
import { bridgeBench } from './bridge.mjs';
import { round } from './client.mjs';
import { PEER_INSTALL, peerNode, scratch, startDaemon, startPeer } from './processes.mjs';

/** Rows of [what, ours, peer, ratio], or a line that says how to get the peer. */
export async function peerBench() {
  const node = peerNode();
  if (node === undefined) return `peer: not installed, not measured. To compare: ${PEER_INSTALL}`;
  const place = scratch('ws', 'home');
  try {
    const peer = await startPeer(node, place, place.at('ws'));
    const theirs = {
      'spawn to listening, ms': round(peer.readyMs),
      ...(await bridgeBench(peer, place.at('ws'))),
    };
    await peer.stop();
    const daemon = await startDaemon(place.at('ws'), ['--max-sessions', '256'], node);
    // The agent link is loaded a second after the start: memory counts with it.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    const ours = {
      'spawn to listening, ms': round(daemon.readyMs),
      ...(await bridgeBench(daemon, place.at('ws'))),
    };
    await daemon.stop();
    return Object.keys(ours).map((name) => [
      name,
      ours[name],
      theirs[name],
      round(ours[name] / theirs[name]),
    ]);
  } finally {
    place.remove();
  }
}
