// Writes docs/lifecycle.md from the tables that the code runs by. `--print` writes the page to stdout instead, for the test that
// compares it with the file.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { lifecyclePage } from './lifecycle/page.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({ options: { print: { type: 'boolean' } } });

const SOURCES = `
export { STATES, TABLE, step } from './coordinator/domain/daemon-state.ts';
export { nextState } from './coordinator/domain/session.ts';
export { ROUTE_CLASSES } from './coordinator/domain/route-classes.ts';
export { detectionBoundMs, toleratedPauseMs } from './coordinator/domain/liveness.ts';
export { DEFAULT_SUPERVISE_SETTINGS } from './coordinator/supervise/settings.ts';
export { SUPERVISION_FLAGS, LIMIT_FLAGS } from './coordinator/flags.ts';
`;

/** Bundles and imports the tables of `SOURCES`, because these are TypeScript, which Node 20 does not run. */
async function tables() {
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const dir = mkdtempSync(join(cache, 'docs-'));
  try {
    const outfile = join(dir, 'tables.mjs');
    await build({
      stdin: { contents: SOURCES, resolveDir: root, loader: 'ts' },
      outfile,
      bundle: true,
      packages: 'external',
      format: 'esm',
      platform: 'node',
      target: 'node20',
      logLevel: 'warning',
    });
    return await import(pathToFileURL(outfile).href);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const page = lifecyclePage(await tables());

if (values.print === true) process.stdout.write(page);
else writeFileSync(join(root, 'docs/lifecycle.md'), page);
