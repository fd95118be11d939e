// Which npm package is the SQLite driver for a version of Node, and the shell command that installs it. The command depends on
// how qwen-coordinator itself was installed.
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** The npm package of a SQLite driver. */
export interface DriverPackage {
  /** The name in `require` calls. */
  readonly name: string;
  /** The version in this package's package.json; a test compares the two. */
  readonly version: string;
}

/** better-sqlite3 under an alias, because package.json cannot list two versions under one name. */
const FOR_NODE_20: DriverPackage = { name: 'better-sqlite3-12', version: '12.11.1' };
/** Built on version 10 of the Node-API, which Node has from 22.14 and 23.6 on. */
export const FROM_NODE_22: DriverPackage = { name: 'better-sqlite3', version: '13.2.0' };

/**
 * The driver for a version of Node. No driver version fits all: 13 crashes in a Node without version 10 of the Node-API;
 * 12 aborts Node from 24.19 on when a statement is collected (its ObjectWrap asks for an environment that is missing then).
 */
export function driverPackageFor(nodeVersion: string): DriverPackage {
  return Number(nodeVersion.split('.')[0]) < 22 ? FOR_NODE_20 : FROM_NODE_22;
}

/** How qwen-coordinator was installed. */
type Installation =
  /** As a clone of the repository, or a copy of a clone; `root` is its directory. */
  | { readonly kind: 'checkout'; readonly root: string }
  /** In the `node_modules` of a directory with a package.json, which is `root`. */
  | { readonly kind: 'local'; readonly root: string }
  /** With `npm install --global`; `root` is npm's prefix. */
  | { readonly kind: 'global'; readonly root: string };

/** The shell command that installs a missing driver. @param from a file of qwen-coordinator. */
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
  // This driver is an optional dependency, which npm installs unnamed. Without --ignore-scripts npm, working from a lock file,
  // runs node-gyp for the driver and drops the driver again where python or make is missing; nothing needs to be compiled.
  return {
    checkout: `npm install ${prefix} --include=optional --ignore-scripts`,
    local: `npm install ${prefix} --include=optional --ignore-scripts`,
    global: `npm install --global ${prefix} --ignore-scripts ${driver.name}@${driver.version}`,
  }[kind];
}

/**
 * The shell command that replaces a driver which is installed and does not load.
 * @param directory of the installed driver.
 */
export function reinstallCommand(driver: DriverPackage, from: string, directory: string): string {
  if (driver !== FOR_NODE_20) return `rm -r ${quoted(directory)} && ${installCommand(driver, from)}`;
  const { kind, root } = installationOf(from);
  const prefix = `--prefix ${quoted(root)}`;
  const rebuild = `${prefix} --ignore-scripts=false ${driver.name}`;
  return {
    // The build begins with deploy/driver.mjs, which replaces the driver.
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
  // Global packages are in <prefix>/lib/node_modules, on Windows in <prefix>/node_modules.
  return { kind: 'global', root: basename(owner) === 'lib' ? dirname(owner) : owner };
}

/** The nearest directory above the file `from` that has a package.json. */
function packageRootOf(from: string): string {
  let directory = dirname(from);
  while (!existsSync(join(directory, 'package.json')) && directory !== dirname(directory))
    directory = dirname(directory);
  return directory;
}

/** The path as one word of a POSIX shell. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
