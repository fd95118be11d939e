// `npm run bench`: prints figures, asserts nothing. Absolute values drift with the machine; compare within one run.
import { fleetBench } from './fleet.mjs';

function print(title, rows) {
  const width = Math.max(...rows.map(([what]) => what.length));
  console.log(`\n${title} (Node ${process.versions.node})`);
  for (const [what, value, unit] of rows)
    console.log(`  ${what.padEnd(width)}  ${String(value).padStart(9)} ${unit}`);
}

print('fleet', await fleetBench());
