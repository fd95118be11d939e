// Bundles one entry point into a directory of its own, for tests of a process that has to run as plain JavaScript.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

export interface Bundle {
  /** Path of the JavaScript file, to be run with node. */
  readonly path: string;
  remove(): void;
}

/** Bundles `entry`, a path from the root of the repository, the way the package's build does. */
export async function bundle(entry: string): Promise<Bundle> {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const dir = mkdtempSync(join(tmpdir(), 'bundle-'));
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outdir: dir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    logLevel: 'warning',
  });
  return {
    path: join(dir, basename(entry).replace(/\.ts$/, '.mjs')),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}
