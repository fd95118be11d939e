// Makes one TypeScript file runnable by a child process of a test: Node 20 runs no TypeScript itself.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Bundles `entry` (packages stay external). The result lies below node_modules, so that they are found from there. */
export async function bundleScript(entry: string): Promise<{ path: string; remove: () => void }> {
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const dir = mkdtempSync(join(cache, 'test-script-'));
  const path = join(dir, 'script.mjs');
  // The command line and not the API: that one insists on a Uint8Array of its own realm, which jest does not have.
  await promisify(execFile)(join(root, 'node_modules/.bin/esbuild'), [
    entry,
    '--bundle',
    '--packages=external',
    '--platform=node',
    '--target=node20',
    '--format=esm',
    `--outfile=${path}`,
  ]);
  return { path, remove: () => rmSync(dir, { recursive: true, force: true }) };
}
