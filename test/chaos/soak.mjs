// `npm run soak -- --minutes N`: faults at random under load, judged throughout. The soak itself is TypeScript (soak-run.ts),
// which Node 20 does not run: it is bundled into a file of its own first.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

/** Nothing here is meant to run without end. */
const MAX_MINUTES = 12 * 60;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    clients: { type: 'string', default: '6' },
    workspaces: { type: 'string', default: '3' },
  },
});
const plan = Object.fromEntries(Object.entries(values).map(([name, text]) => [name, Number(text)]));
const isSane = Object.values(plan).every((value) => Number.isFinite(value) && value > 0);
if (!isSane || plan.minutes > MAX_MINUTES) {
  process.stderr.write(`soak: numbers over 0 are wanted, and at most ${MAX_MINUTES} minutes\n`);
  process.exit(2);
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const cache = join(root, 'node_modules', '.cache');
mkdirSync(cache, { recursive: true });
// Below node_modules, so that packages are found from there.
const dir = mkdtempSync(join(cache, 'soak-'));
process.once('exit', () => rmSync(dir, { recursive: true, force: true }));

/** The test support finds the stub agent and dist/ beside its own files, wherever the bundle is. */
const ownUrls = {
  name: 'own-urls',
  setup({ onLoad }) {
    onLoad({ filter: /\/test\/.*\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll(
        'import.meta.url',
        JSON.stringify(pathToFileURL(path).href),
      ),
      loader: 'ts',
    }));
  },
};
const outfile = join(dir, 'soak.mjs');
await build({
  absWorkingDir: root,
  entryPoints: ['test/chaos/soak-run.ts'],
  outfile,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  plugins: [ownUrls],
  logLevel: 'warning',
});
const { soak, abandon } = await import(pathToFileURL(outfile).href);
// A soak that is cut short leaves no fleet behind.
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => abandon().finally(() => process.exit(1)));
process.exitCode = (await soak(plan, (line) => process.stdout.write(`${line}\n`))) ? 0 : 1;
