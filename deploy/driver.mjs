// Makes the SQLite driver of a checkout loadable. From Node 22 on there is nothing to do: the driver's package contains its
// binding. On Node 20 an install script makes the binding of better-sqlite3-12, and .npmrc turns install scripts off; so the
// binding is made here, once, before the first build or test.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const DRIVER = 'better-sqlite3-12';
const root = fileURLToPath(new URL('..', import.meta.url));
const load = createRequire(import.meta.url);

if (process.versions.node.startsWith('20.') && isInstalled() && !isLoadable()) {
  process.stderr.write(`Making the binding of ${DRIVER} for Node ${process.versions.node}, once.\n`);
  // The package's install script downloads a prebuilt binding, or compiles the binding.
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
