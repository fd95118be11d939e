// The built binaries as child processes of a benchmark, in a scratch directory that goes with them.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const STUB_AGENT = `node ${join(root, 'test/support/stub-agent.mjs')}`;

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
export function startDaemon(workspace, flags = []) {
  return start(
    [
      '--max-semi-space-size=1',
      'dist/daemon/main.js',
      '--workspace',
      workspace,
      '--port',
      '0',
      '--agent',
      STUB_AGENT,
    ],
    flags,
    {},
  );
}

/** A coordinator on a free port over the given workspaces. */
export function startCoordinator(place, workspaces, flags = []) {
  return start(
    [
      'dist/coordinator/main.js',
      'start',
      '--port',
      '0',
      '--state-dir',
      place.at('state'),
      '--agent',
      STUB_AGENT,
      ...workspaces.flatMap((path) => ['--workspace', path]),
    ],
    flags,
    { XDG_RUNTIME_DIR: place.at('run') },
  );
}

function start(args, flags, env) {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [...args, '--log-level', 'error', ...flags], {
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
        stop: () =>
          new Promise((done) => {
            child.once('exit', done);
            child.kill('SIGTERM');
          }),
      });
    });
  });
}

/** Resident memory of a process in MiB. */
export function residentMiB(pid) {
  const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kib) / 102.4) / 10;
}
