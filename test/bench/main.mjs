// `npm run bench [fleet|adoption|peer|growth ...]`: prints figures, asserts nothing. Absolute values drift with the machine; compare
// within one run.
import { adoptionBench } from './adoption.mjs';
import { fleetBench } from './fleet.mjs';
import { growthBench } from './growth.mjs';
import { peerBench } from './peer.mjs';

const BENCHES = { fleet: fleetBench, adoption: adoptionBench, growth: growthBench, peer: peerBench };
const HEADINGS = { peer: ['', 'ours', 'peer', 'ours / peer', 'recording'] };

function print(name, rows) {
  console.log(`\n${name} (Node ${process.versions.node})`);
  if (typeof rows === 'string') {
    console.log(`  ${rows}`);
    return;
  }
  const all = [...(HEADINGS[name] === undefined ? [] : [HEADINGS[name]]), ...rows];
  const width = Math.max(...all.map(([what]) => what.length));
  for (const [what, ...values] of all)
    console.log(`  ${what.padEnd(width)}  ${values.map((value) => String(value).padStart(11)).join(' ')}`);
}

const wanted = process.argv.slice(2);
for (const [name, bench] of Object.entries(BENCHES))
  if (wanted.length === 0 || wanted.includes(name)) print(name, await bench());
