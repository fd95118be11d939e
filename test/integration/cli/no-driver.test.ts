// The built package where npm left no SQLite driver, or one that does not load: what each command says, and that it leaves
// nothing behind.
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { driverPackageFor } from '../../../coordinator/store/driver-package.ts';
import type { CommandEnd } from '../../support/command-line.ts';
import { binaryPath } from '../../support/fleet-process.ts';
import { Scratch } from '../../support/scratch.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const DRIVER = driverPackageFor(process.versions.node);

let scratch: Scratch;
let project: string;
beforeEach(() => {
  scratch = new Scratch(1);
  project = join(scratch.dir, 'project');
  const modules = join(project, 'node_modules');
  const copy = join(modules, 'qwen-coordinator');
  mkdirSync(copy, { recursive: true });
  writeFileSync(join(project, 'package.json'), '{}');
  cpSync(join(ROOT, 'package.json'), join(copy, 'package.json'));
  cpSync(join(binaryPath('coordinator'), '../..'), join(copy, 'dist'), { recursive: true });
});
afterEach(() => scratch.remove());

function run(...args: string[]): Promise<CommandEnd> {
  return runIn(scratch.env, ...args);
}

function runIn(env: NodeJS.ProcessEnv, ...args: string[]): Promise<CommandEnd> {
  const binary = join(project, 'node_modules/qwen-coordinator/dist/coordinator/main.js');
  return new Promise((resolve) => {
    const options = { cwd: scratch.dir, env, timeout: 60_000 };
    const child = execFile(process.execPath, [binary, ...args], options, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

/** A driver of the right version whose binding is for another Node. */
function putBrokenDriver(): void {
  const path = join(project, 'node_modules', DRIVER.name);
  mkdirSync(path);
  writeFileSync(join(path, 'package.json'), JSON.stringify({ version: DRIVER.version }));
  const message = "The module 'x.node'\\nwas compiled against a different Node.js version.";
  writeFileSync(
    join(path, 'index.js'),
    `module.exports = class { constructor() { throw new Error("${message}") } };`,
  );
}

const stateDir = () => ['--state-dir', scratch.stateDir];

describe('without a driver', () => {
  test.each([
    ['start', () => ['start', '--port', '0', ...stateDir()]],
    ['demo', () => ['demo']],
  ])('%s is refused with the command that installs one, and makes nothing', async (_name, args) => {
    const { code, stderr } = await run(...args());
    const said = `qwen-coordinator: no SQLite driver for Node ${process.versions.node} is installed; run: npm install `;
    expect([code, stderr.slice(0, said.length)]).toEqual([2, said]);
    expect(stderr).toContain(`--prefix ${project} `);
    expect(stderr).not.toContain('    at ');
    expect(existsSync(scratch.stateDir)).toBe(false);
  });

  test.each(['sweep', 'status', 'stop'])(
    '%s says the same of a state directory that was in use',
    async (name) => {
      mkdirSync(scratch.stateDir, { mode: 0o700 });
      writeFileSync(join(scratch.stateDir, 'coordinator.lock.db'), '');
      const { code, stderr } = await run(name, ...stateDir());
      expect([code, stderr]).toEqual([2, expect.stringContaining('no SQLite driver for Node')]);
      expect(stderr).not.toContain('    at ');
    },
  );

  test('doctor fails on that alone, and says nothing of the database', async () => {
    mkdirSync(scratch.stateDir, { mode: 0o700 });
    for (const name of ['coordinator.db', 'coordinator.lock.db'])
      writeFileSync(join(scratch.stateDir, name), '');
    const { code, stdout } = await run('doctor', '--json', '--agent', 'demo', ...stateDir());
    const { findings } = JSON.parse(stdout) as { findings: { check: string; level: string }[] };
    expect(code).toBe(1);
    expect(findings.filter(({ level }) => level === 'fail')).toEqual([
      {
        check: 'sqlite driver',
        level: 'fail',
        text: `no SQLite driver for Node ${process.versions.node} is installed`,
        remedy: expect.stringMatching(/^npm install --prefix /),
      },
    ]);
    expect(findings.map(({ check }) => check)).not.toContain('database');
  });

  test('version and help work', async () => {
    expect(await run('version')).toMatchObject({ code: 0, stderr: '' });
    expect(await run('start', '--help')).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('in a Node in which the driver would crash', () => {
  const TOO_OLD = '22.13.1';
  const pretence = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${TOO_OLD}' } })`;
  const inOldNode = (...args: string[]) => {
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(pretence)}`;
    return runIn({ ...scratch.env, NODE_OPTIONS }, ...args, ...stateDir());
  };

  test('start is refused with the versions that are supported', async () => {
    const { code, stderr } = await inOldNode('start', '--port', '0');
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/ in Node 22\.13\.1; install Node 20\.19 or newer 20, /),
    ]);
    expect(existsSync(scratch.stateDir)).toBe(false);
  });

  test('doctor fails on Node and the driver', async () => {
    const { code, stdout } = await inOldNode('doctor', '--json', '--agent', 'demo');
    const { findings } = JSON.parse(stdout) as { findings: { check: string; level: string }[] };
    const failed = findings.filter(({ level }) => level === 'fail').map(({ check }) => check);
    expect([code, failed]).toEqual([1, ['node', 'sqlite driver']]);
  });
});

describe('with a driver', () => {
  test('that does not load, start says why and how it is built again', async () => {
    putBrokenDriver();
    const { code, stderr } = await run('start', '--port', '0', ...stateDir());
    const why = `${DRIVER.name} ${DRIVER.version} does not load in Node ${process.versions.node}: The module 'x.node' was compiled`;
    expect([code, stderr]).toEqual([2, expect.stringContaining(why)]);
    expect(stderr).toMatch(/; run: (?:npm rebuild|rm -r) /);
    expect(existsSync(scratch.stateDir)).toBe(false);
  });

  test('beside the package, the demo runs from it', async () => {
    symlinkSync(join(ROOT, 'node_modules', DRIVER.name), join(project, 'node_modules', DRIVER.name));
    const { code, stderr, stdout } = await run('demo');
    expect([code, stderr + stdout]).toEqual([
      0,
      expect.stringContaining('Everything was stopped and removed'),
    ]);
    const doctor = await run('doctor', '--agent', 'demo', ...stateDir());
    expect(doctor.stdout).toMatch(new RegExp(`^ok +sqlite driver +${DRIVER.name} ${DRIVER.version}$`, 'm'));
  });
});
