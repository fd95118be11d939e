// Loads the SQLite driver and opens database files with it. The driver is an optional dependency, so it can be missing; it is
// loaded when the first database is opened, so that commands that open none work without it.
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import type SqliteConnection from 'better-sqlite3';
import { isSupportedNode, SUPPORTED_NODE } from '../domain/node-version.ts';
import {
  type DriverPackage,
  driverPackageFor,
  FROM_NODE_22,
  installCommand,
  reinstallCommand,
} from './driver-package.ts';

export type { Database as Sqlite, Statement } from 'better-sqlite3';

/** The SQLite driver is missing or does not load. The message ends with the shell command that installs it. */
export class DriverUnavailable extends Error {
  readonly problem: string;
  readonly command: string;
  constructor(problem: string, command: string) {
    super(`${problem}; run: ${command}`);
    this.name = 'DriverUnavailable';
    this.problem = problem;
    this.command = command;
  }
}

/** In this version of Node the driver would not fail to load but end the process with a segmentation fault. */
export class DriverWouldCrash extends Error {
  constructor({ name, version }: DriverPackage, nodeVersion: string) {
    super(
      `the SQLite driver ${name} ${version} does not work in Node ${nodeVersion}; install ${SUPPORTED_NODE}`,
    );
    this.name = 'DriverWouldCrash';
  }
}

export interface Driver extends DriverPackage {
  /** The class that the driver's package exports: one instance is one connection. */
  readonly Connection: typeof SqliteConnection;
}

/**
 * Loads the driver for that version of Node, and opens a database in memory to load the driver's native library too.
 * @param from the file of qwen-coordinator whose `node_modules` directories are searched.
 * @throws DriverWouldCrash when the version of Node is too old for the driver;
 *   DriverUnavailable when the package is not installed, is of another major version, or does not load.
 */
export function loadDriver(nodeVersion: string, from: string): Driver {
  const wanted = driverPackageFor(nodeVersion);
  if (wanted === FROM_NODE_22 && !isSupportedNode(nodeVersion))
    throw new DriverWouldCrash(wanted, nodeVersion);
  const load = createRequire(from);
  const version = installedVersion(wanted.name, load);
  if (version === undefined || majorOf(version) !== majorOf(wanted.version)) {
    const instead = version === undefined ? '' : `, ${wanted.name} is ${version}`;
    const problem = `no SQLite driver for Node ${nodeVersion} is installed${instead}`;
    throw new DriverUnavailable(problem, installCommand(wanted, from));
  }
  try {
    const Connection = load(wanted.name) as typeof SqliteConnection;
    new Connection(':memory:').close();
    return { name: wanted.name, version, Connection };
  } catch (error) {
    const problem = `the SQLite driver ${wanted.name} ${version} does not load in Node ${nodeVersion}: ${reasonOf(error)}`;
    const directory = dirname(load.resolve(`${wanted.name}/package.json`));
    throw new DriverUnavailable(problem, reinstallCommand(wanted, from, directory));
  }
}

let loaded: Driver | undefined;

/** The driver for this process's Node, loaded by the first call. @throws DriverWouldCrash, DriverUnavailable */
export function requireDriver(): Driver {
  loaded ??= loadDriver(process.versions.node, import.meta.filename);
  return loaded;
}

/** Opens a connection to a database file. @throws as `requireDriver`; SqliteError, with SQLite's code, when that fails. */
export function openSqlite(path: string, options?: SqliteConnection.Options): SqliteConnection.Database {
  const { Connection } = requireDriver();
  return new Connection(path, options);
}

function majorOf(version: string): string | undefined {
  return version.split('.')[0];
}

/** The version of the installed package; undefined when it is not installed. */
function installedVersion(name: string, load: NodeJS.Require): string | undefined {
  try {
    return (load(`${name}/package.json`) as { version: string }).version;
  } catch {
    return undefined;
  }
}

/** The error's message in one line, without Node's list of the paths that were tried. */
function reasonOf(error: unknown): string {
  const { message } = error as Error;
  return message
    .replace(/\s*Tried:[\s\S]*$/, '')
    .split(/\s+/)
    .join(' ')
    .replace(/\.$/, '');
}
