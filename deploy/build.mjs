// Builds dist/: one esbuild run with splitting for all entry points, so that each process loads only what it uses.
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'));

rmSync(`${root}/dist`, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: ['coordinator/main.ts', 'daemon/main.ts', 'daemon/demo-agent/main.ts'],
  outdir: 'dist',
  outbase: '.',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: true,
  // The native addon finds its binding relative to its own files.
  external: ['better-sqlite3'],
  define: { 'process.env.QWEN_COORDINATOR_VERSION': JSON.stringify(version) },
  // Bundled CommonJS packages ask for node's builtins with require.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
for (const bin of ['dist/coordinator/main.js', 'dist/daemon/main.js']) chmodSync(`${root}/${bin}`, 0o755);
