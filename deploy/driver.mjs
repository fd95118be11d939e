// Makes the SQLite driver of a checkout loadable. From Node 22 on there is nothing to do: its binding comes in the package. On
// Node 20 the binding of better-sqlite3-12 is made by an install script, and .npmrc leaves all of those out; so it is made here,
// once, before the first build or test.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const DRIVER = 'better-sqlite3-12';
const root = fileURLToPath(new URL('..', import.meta.url));
const load = createRequire(import.meta.url);

if (process.versions.node.startsWith('20.') && isInstalled() && !isLoadable()) {
  process.stderr.write(`Making the binding of ${DRIVER} for Node ${process.versions.node}, once.\n`);
  // The script downloads a prebuilt binding, or compiles one.
  const { status, stdout, stderr, error } = spawnSync(
    'npm',
    ['rebuild', '--ignore-scripts=false', '--foreground-scripts', DRIVER],
    { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28 },
  );
  if (status !== 0) {
    process.stderr.write(`${error?.message ?? stdout + stderr}\n`);
    throw new Error(
      `the binding of ${DRIVER} could not be made: it needs a network, or python3, make and g++`,
    );
  }
}

function isInstalled() {
  try {
    load.resolve(DRIVER);
    return true;
  } catch {
    return false;
  }
}

function isLoadable() {
  try {
    const Connection = load(DRIVER);
    new Connection(':memory:').close();
    return true;
  } catch {
    return false;
  }
}
