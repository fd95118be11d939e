// Builds dist/: one esbuild run with splitting for all entry points, so that each process loads only what it uses.
import './driver.mjs';
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { parse } from 'yaml';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'));

/**
 * The MIME types that the answers of coordinator and daemon use. The full database, which koa brings along in two versions, costs
 * every daemon 3 MB of memory and 8 ms of its start.
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

/** Directory of the new build. It replaces dist/ at the end, so that dist/ is whole at any moment but that of the swap. */
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
  // A process spends a third of its start on parsing the bundle, so white space goes. Names stay, and lines stay short: a stack
  // trace can be read as it is.
  minifyWhitespace: true,
  lineLimit: 160,
  // Not bundled, because a native addon finds its binding relative to its own files. No other package is needed at run time.
  external: ['better-sqlite3', 'better-sqlite3-12'],
  define: { 'process.env.QWEN_COORDINATOR_VERSION': JSON.stringify(version) },
  // Bundled CommonJS packages load Node's built-in modules with `require`, which an ES module does not have.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  plugins: [smallMimeDatabase],
  logLevel: 'warning',
});
// The API description that GET /openapi.json answers.
const description = parse(readFileSync(`${root}/docs/openapi.yaml`, 'utf8'));
writeFileSync(`${root}/${fresh}/openapi.json`, JSON.stringify(description));
for (const bin of ['coordinator/main.js', 'daemon/main.js']) chmodSync(`${root}/${fresh}/${bin}`, 0o755);
rmSync(`${root}/dist`, { recursive: true, force: true });
renameSync(`${root}/${fresh}`, `${root}/dist`);
