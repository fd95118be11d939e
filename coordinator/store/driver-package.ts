// Which package is the SQLite driver for a Node, and the command that installs it, exactly as it is to be typed: the command
// depends on how qwen-coordinator itself was installed.
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

export interface DriverPackage {
  /** As it is required. */
  readonly name: string;
  /** What package.json asks for; a test compares the two. */
  readonly version: string;
}

/** Has a name of its own because package.json cannot list two versions under one. */
const FOR_NODE_20: DriverPackage = { name: 'better-sqlite3-12', version: '12.11.1' };
const FROM_NODE_22: DriverPackage = { name: 'better-sqlite3', version: '13.2.0' };

/**
 * No one version fits all. 13 needs the Node-API of Node 22 and crashes in an older one; with 12 a Node from 24.19 on aborts
 * when it collects a statement (its ObjectWrap asks for an environment that a collection may not have).
 */
export function driverPackageFor(nodeVersion: string): DriverPackage {
  return Number(nodeVersion.split('.')[0]) < 22 ? FOR_NODE_20 : FROM_NODE_22;
}

/** How this package was installed. */
type Installation =
  /** A clone of the repository, or a copy of one. */
  | { readonly kind: 'checkout'; readonly root: string }
  /** In the `node_modules` of a directory with a package.json, which is `root`. */
  | { readonly kind: 'local'; readonly root: string }
  /** With `npm install --global`; `root` is npm's prefix. */
  | { readonly kind: 'global'; readonly root: string };

/** @param from a file of qwen-coordinator. */
export function installCommand(driver: DriverPackage, from: string): string {
  const { kind, root } = installationOf(from);
  const prefix = `--prefix ${quoted(root)}`;
  if (driver === FOR_NODE_20) {
    const spec = `${driver.name}@npm:better-sqlite3@${driver.version}`;
    return {
      checkout: `npm install ${prefix} --include=dev && npm run ${prefix} build`,
      local: `npm install ${prefix} --save-exact ${spec}`,
      global: `npm install --global ${prefix} ${spec}`,
    }[kind];
  }
  // An optional dependency comes back without being named. Scripts are left out because npm, working from a lock file, runs
  // node-gyp for it and drops it again where python or make is missing; nothing needs to be compiled.
  return {
    checkout: `npm install ${prefix} --include=optional --ignore-scripts`,
    local: `npm install ${prefix} --include=optional --ignore-scripts`,
    global: `npm install --global ${prefix} --ignore-scripts ${driver.name}@${driver.version}`,
  }[kind];
}

/**
 * For a driver that is there and does not load.
 * @param directory where the driver is.
 */
export function reinstallCommand(driver: DriverPackage, from: string, directory: string): string {
  if (driver !== FOR_NODE_20) return `rm -r ${quoted(directory)} && ${installCommand(driver, from)}`;
  const { kind, root } = installationOf(from);
  const prefix = `--prefix ${quoted(root)}`;
  const rebuild = `${prefix} --ignore-scripts=false ${driver.name}`;
  return {
    // deploy/driver.mjs does it, which the build begins with.
    checkout: `npm run ${prefix} build`,
    local: `npm rebuild ${rebuild}`,
    global: `npm rebuild --global ${rebuild}`,
  }[kind];
}

function installationOf(from: string): Installation {
  const root = packageRootOf(from);
  const modules = dirname(root);
  if (basename(modules) !== 'node_modules') return { kind: 'checkout', root };
  const owner = dirname(modules);
  if (existsSync(join(owner, 'package.json'))) return { kind: 'local', root: owner };
  // <prefix>/lib/node_modules, on Windows <prefix>/node_modules.
  return { kind: 'global', root: basename(owner) === 'lib' ? dirname(owner) : owner };
}

/** The nearest directory above with a package.json. */
function packageRootOf(from: string): string {
  let directory = dirname(from);
  while (!existsSync(join(directory, 'package.json')) && directory !== dirname(directory))
    directory = dirname(directory);
  return directory;
}

/** For a POSIX shell. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
