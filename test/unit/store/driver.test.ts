// Which SQLite driver is loaded in which Node, and what is said where it cannot be: on packages made up for each case.
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  DriverUnavailable,
  DriverWouldCrash,
  loadDriver,
  openSqlite,
  requireDriver,
} from '../../../coordinator/store/driver.ts';
import { driverPackageFor } from '../../../coordinator/store/driver-package.ts';

const NODE_20 = '20.20.2';
const NODE_24 = '24.21.0';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(realpathSync(tmpdir()), 'qwen-driver-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function write(path: string, text: string): string {
  const full = join(dir, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, text);
  return full;
}

/** Puts a driver into the `node_modules` of `owner`; `body` runs when a database is opened. */
function putDriver(owner: string, name: string, version: string, body = ''): void {
  write(join(owner, 'node_modules', name, 'package.json'), JSON.stringify({ name, version }));
  const code = `module.exports = class { constructor() { ${body} } close() {} };`;
  write(join(owner, 'node_modules', name, 'index.js'), code);
}

/** Where the three installations have the file that looks for a driver. */
const CHECKOUT = 'clone/coordinator/store/driver.ts';
const LOCAL = 'project/node_modules/qwen-coordinator/dist/chunk.js';
const GLOBAL = 'prefix/lib/node_modules/qwen-coordinator/dist/chunk.js';

function installed(kind: 'checkout' | 'local' | 'global'): string {
  const file = { checkout: CHECKOUT, local: LOCAL, global: GLOBAL }[kind];
  if (kind === 'local') write('project/package.json', '{}');
  const root = kind === 'checkout' ? 'clone' : dirname(dirname(file));
  write(join(root, 'package.json'), '{"name":"qwen-coordinator"}');
  return write(file, '');
}

function refusal(nodeVersion: string, from: string): DriverUnavailable {
  try {
    loadDriver(nodeVersion, from);
  } catch (error) {
    if (error instanceof DriverUnavailable) return error;
    throw error;
  }
  throw new Error('a driver was loaded');
}

test('this Node has its driver, and databases are opened with it', () => {
  expect(requireDriver()).toMatchObject(driverPackageFor(process.versions.node));
  const database = openSqlite(':memory:');
  expect(database.prepare('SELECT 1 AS one').get()).toEqual({ one: 1 });
  database.close();
});

test.each([
  ['20.19.0', 'better-sqlite3-12'],
  [NODE_20, 'better-sqlite3-12'],
  ['22.14.0', 'better-sqlite3'],
  ['23.6.0', 'better-sqlite3'],
  [NODE_24, 'better-sqlite3'],
  ['100.0.0', 'better-sqlite3'],
])('Node %s loads %s, and leaves the other one alone', (nodeVersion, expected) => {
  const from = installed('local');
  const versions = { 'better-sqlite3-12': '12.11.1', 'better-sqlite3': '13.2.0' };
  for (const [name, version] of Object.entries(versions))
    putDriver('project', name, version, name === expected ? '' : 'process.abort()');
  expect(loadDriver(nodeVersion, from)).toMatchObject({ name: expected });
});

test.each(['22.0.0', '22.12.0', '22.13.1', '23.0.0', '23.5.0'])(
  'in Node %s the driver would crash, so it is not loaded',
  (nodeVersion) => {
    const from = installed('local');
    putDriver('project', 'better-sqlite3', '13.2.0', 'process.abort()');
    expect(() => loadDriver(nodeVersion, from)).toThrow(
      new DriverWouldCrash(driverPackageFor(nodeVersion), nodeVersion),
    );
  },
);

describe('where none is installed the command is named', () => {
  const ALIAS = 'better-sqlite3-12@npm:better-sqlite3@12.11.1';
  const cases = [
    [NODE_20, 'checkout', 'npm install --prefix DIR/clone --include=dev && npm run --prefix DIR/clone build'],
    [NODE_20, 'local', `npm install --prefix DIR/project --save-exact ${ALIAS}`],
    [NODE_20, 'global', `npm install --global --prefix DIR/prefix ${ALIAS}`],
    [NODE_24, 'checkout', 'npm install --prefix DIR/clone --include=optional --ignore-scripts'],
    [NODE_24, 'local', 'npm install --prefix DIR/project --include=optional --ignore-scripts'],
    [NODE_24, 'global', 'npm install --global --prefix DIR/prefix --ignore-scripts better-sqlite3@13.2.0'],
  ] as const;

  test.each(cases)('Node %s, %s: %s', (nodeVersion, kind, command) => {
    const { problem, command: named, message } = refusal(nodeVersion, installed(kind));
    expect(problem).toBe(`no SQLite driver for Node ${nodeVersion} is installed`);
    expect(named).toBe(command.replaceAll('DIR', dir));
    expect(message).toBe(`${problem}; run: ${named}`);
  });

  test('for a shell, whatever the directory is called', () => {
    dir = join(dir, "a b's");
    const { command } = refusal(NODE_24, installed('local'));
    expect(command).toContain(`--prefix '${dir.replace("b's", "b'\\''s")}/project' `);
  });
});

describe('a driver of another version is none', () => {
  test.each([
    [NODE_20, 'better-sqlite3-12', '13.2.0'],
    [NODE_24, 'better-sqlite3', '12.11.1'],
  ])('Node %s and %s %s', (nodeVersion, name, version) => {
    const from = installed('local');
    putDriver('project', name, version, 'process.abort()');
    expect(refusal(nodeVersion, from).message).toMatch(
      new RegExp(
        `^no SQLite driver for Node ${nodeVersion} is installed, ${name} is ${version}; run: npm install `,
      ),
    );
  });

  test('Node 20 does not load version 13 where it is the only one', () => {
    const from = installed('local');
    putDriver('project', 'better-sqlite3', '13.2.0', 'process.abort()');
    expect(refusal(NODE_20, from).problem).toBe(`no SQLite driver for Node ${NODE_20} is installed`);
  });
});

describe('a driver that does not load', () => {
  const WRONG_ABI = String.raw`throw new Error("The module 'x.node'\nwas compiled against a different Node.js version.")`;
  const UNBUILT = String.raw`throw new Error("Could not locate the bindings file. Tried:\n -> a\n -> b")`;

  test.each([
    [WRONG_ABI, "The module 'x.node' was compiled against a different Node.js version"],
    [UNBUILT, 'Could not locate the bindings file'],
  ])('says why in one line: %s', (body, why) => {
    const from = installed('local');
    putDriver('project', 'better-sqlite3-12', '12.11.1', body);
    expect(refusal(NODE_20, from).problem).toBe(
      `the SQLite driver better-sqlite3-12 12.11.1 does not load in Node ${NODE_20}: ${why}`,
    );
  });

  const REBUILD = '--ignore-scripts=false better-sqlite3-12';
  const cases = [
    [NODE_20, 'checkout', 'npm run --prefix DIR/clone build'],
    [NODE_20, 'local', `npm rebuild --prefix DIR/project ${REBUILD}`],
    [NODE_20, 'global', `npm rebuild --global --prefix DIR/prefix ${REBUILD}`],
    [
      NODE_24,
      'local',
      'rm -r DIR/project/node_modules/better-sqlite3 && npm install --prefix DIR/project --include=optional --ignore-scripts',
    ],
  ] as const;

  test.each(cases)('Node %s, %s: %s', (nodeVersion, kind, command) => {
    const from = installed(kind);
    const owner = { checkout: 'clone', local: 'project', global: 'prefix/lib' }[kind];
    const { name, version } = driverPackageFor(nodeVersion);
    putDriver(owner, name, version, UNBUILT);
    expect(refusal(nodeVersion, from).command).toBe(command.replaceAll('DIR', dir));
  });
});
