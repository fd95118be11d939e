// Builds dist/: one esbuild run with splitting for all entry points, so that each process loads only what it uses.
import './driver.mjs';
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { parse } from 'yaml';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'));

/**
 * The types that our answers use. The full database, which koa brings along in two versions, costs every daemon 3 MB of
 * memory and 8 ms of its start.
 */
const MIME_TYPES = {
  'application/json': { charset: 'UTF-8', extensions: ['json'] },
  'application/octet-stream': { extensions: ['bin'] },
  'application/x-ndjson': { extensions: ['ndjson'] },
  'text/html': { charset: 'UTF-8', extensions: ['html'] },
  'text/plain': { charset: 'UTF-8', extensions: ['txt', 'text'] },
};
const smallMimeDatabase = {
  name: 'small-mime-database',
  setup({ onLoad }) {
    onLoad({ filter: /\/mime-db\/db\.json$/ }, () => ({
      contents: JSON.stringify(MIME_TYPES),
      loader: 'json',
    }));
  },
};

/** Built aside and swapped in, so that there is a whole dist/ at any moment but one. */
const fresh = `dist.${process.pid}`;

await build({
  absWorkingDir: root,
  entryPoints: ['coordinator/main.ts', 'daemon/main.ts', 'daemon/demo-agent/main.ts'],
  outdir: fresh,
  outbase: '.',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: true,
  // A third of a start is the parsing of the bundle. Names stay, and lines stay short: a stack trace can be read as it is.
  minifyWhitespace: true,
  lineLimit: 160,
  // The only packages that are needed at run time: a native addon finds its binding relative to its own files.
  external: ['better-sqlite3', 'better-sqlite3-12'],
  define: { 'process.env.QWEN_COORDINATOR_VERSION': JSON.stringify(version) },
  // Bundled CommonJS packages ask for node's builtins with require.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  plugins: [smallMimeDatabase],
  logLevel: 'warning',
});
// What GET /openapi.json answers.
const description = parse(readFileSync(`${root}/docs/openapi.yaml`, 'utf8'));
writeFileSync(`${root}/${fresh}/openapi.json`, JSON.stringify(description));
for (const bin of ['coordinator/main.js', 'daemon/main.js']) chmodSync(`${root}/${fresh}/${bin}`, 0o755);
rmSync(`${root}/dist`, { recursive: true, force: true });
renameSync(`${root}/${fresh}`, `${root}/dist`);
