// The files of deploy/ and the Dockerfile: that they parse, that they agree with the code, and, where the tools are there,
// that systemd accepts the unit and podman builds and runs the image.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { EXIT } from '../../coordinator/cli/exit-codes.ts';
import { parseConfig } from '../../coordinator/config.ts';
import { FLAGS, flagVariable, LIMIT_FLAGS, SUPERVISION_FLAGS } from '../../coordinator/flags.ts';
import { missing } from '../support/machine.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

const STOP_TIMEOUT_MS = parseConfig({}, {}, ROOT).stopTimeoutMs;
const VARIABLES = new Set(
  [...Object.keys(FLAGS), ...[...SUPERVISION_FLAGS, ...LIMIT_FLAGS].map(({ flag }) => flag)].map(
    flagVariable,
  ),
);

/** Our variables in a text, each once. */
function variablesIn(text: string): string[] {
  return [...new Set(text.match(/QWEN_COORDINATOR_[A-Z_]*[A-Z]/g) ?? [])];
}

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

function scratch(): string {
  const path = mkdtempSync(join(tmpdir(), 'qwen-deploy-'));
  closers.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Everything that systemd finds wrong with a unit of that text; empty when nothing is. */
function complaintsAbout(unit: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'qwen-deploy-'));
  try {
    const copy = join(dir, 'qwen-coordinator.service');
    writeFileSync(copy, unit);
    // Whatever the umask is: systemd has a word for other modes.
    chmodSync(copy, 0o644);
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', copy], { encoding: 'utf8' });
    return [status === 0 ? '' : `exit code ${status}`, stdout, stderr].filter(Boolean).join('\n');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Why no unit can be judged here; undefined when one that has nothing wrong passes. */
function whyNoVerdict(): string | undefined {
  const reason = missing('systemd-analyze') ?? complaintsAbout(`[Service]\nExecStart=${process.execPath}\n`);
  return reason === '' ? undefined : reason;
}

/** `test`, or a skipped one whose title says why. */
function testUnless(reason: string | undefined, title: string, run: () => void, timeoutMs?: number): void {
  if (reason === undefined) test(title, run, timeoutMs);
  else test.skip(`${title} (skipped: ${reason})`, run);
}

describe('qwen-coordinator.service', () => {
  const text = read('deploy/qwen-coordinator.service');
  const settings = new Map(
    text
      .split('\n')
      .filter((line) => /^[A-Z]\w+=/.test(line))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const),
  );
  const seconds = (name: string) => Number(settings.get(name));

  testUnless(whyNoVerdict(), 'systemd accepts every line of it', () => {
    // verify wants programs that exist; unknown keys are only a warning, so any word at all is a failure.
    expect(complaintsAbout(text.replaceAll('/usr/local/bin/qwen-coordinator', process.execPath))).toBe('');
  });

  test('only the coordinator is ever signalled, and an agent out of memory does not stop the unit', () => {
    expect(settings.get('KillMode')).toBe('process');
    expect(settings.get('OOMPolicy')).toBe('continue');
  });

  test('the sockets of living daemons are kept from a crash to the next start, in directories of the user alone', () => {
    expect(settings.get('RuntimeDirectoryPreserve')).toBe('yes');
    expect(settings.get('RuntimeDirectoryMode')).toBe('0700');
    expect(settings.get('StateDirectoryMode')).toBe('0700');
    expect(settings.has('PrivateTmp')).toBe(false);
  });

  test('a crash is followed by a restart, wrong configuration is not', () => {
    expect(settings.get('Restart')).toBe('on-failure');
    expect(settings.get('RestartPreventExitStatus')).toBe(`${EXIT.usage} ${EXIT.taken} ${EXIT.killed}`);
  });

  test('a stop by hand is no failure of the unit', () => {
    expect(settings.get('ExecStop')).toMatch(/^-/);
  });

  test('systemd waits longer than the stop command, and that longer than the coordinator', () => {
    const waitMs = Number(/--timeout (\d+)/.exec(settings.get('ExecStop') ?? '')?.[1]);
    expect(waitMs).toBeGreaterThan(STOP_TIMEOUT_MS);
    expect(seconds('TimeoutStopSec') * 1000).toBeGreaterThan(waitMs);
  });

  test.each([
    ['success', '0', 'swept'],
    ['success', '6', ''],
    ['timeout', 'KILL', 'swept'],
    ['signal', 'KILL', ''],
    ['exit-code', '1', ''],
    ['core-dump', 'SEGV', ''],
    ['oom-kill', 'KILL', ''],
  ])('after the result "%s" with status %s the sweep leaves "%s"', (result, status, expected) => {
    const script = /-\/bin\/sh -c '(.*)'$/.exec(settings.get('ExecStopPost') ?? '')?.[1] ?? '';
    const runnable = script
      .replaceAll('$$', '$')
      .replace('exec /usr/local/bin/qwen-coordinator sweep', 'echo swept');
    expect(runnable).toContain('echo swept');
    const out = execFileSync('/bin/sh', ['-c', runnable], {
      env: { SERVICE_RESULT: result, EXIT_STATUS: status },
      encoding: 'utf8',
    });
    expect(out.trim()).toBe(expected);
  });

  test('it names only variables that flags have', () => {
    expect(variablesIn(text).filter((name) => !VARIABLES.has(name))).toEqual([]);
  });
});

describe('qwen-coordinator.env', () => {
  const env = Object.fromEntries(
    read('deploy/qwen-coordinator.env')
      .split('\n')
      .filter((line) => /^\w+=/.test(line))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const),
  );

  test('as it is delivered it refuses the start for want of a token', () => {
    expect(() => parseConfig({}, env, ROOT)).toThrow('needs a token');
  });

  test('with a token and its root it is a whole configuration', () => {
    const root = scratch();
    const config = parseConfig(
      {},
      { ...env, QWEN_COORDINATOR_TOKEN: 't', QWEN_COORDINATOR_ROOT: root },
      ROOT,
    );
    expect(config).toMatchObject({ requireAuth: true, roots: [root], workspaces: [] });
  });

  test('it names only variables that flags have', () => {
    expect(Object.keys(env).filter((name) => !VARIABLES.has(name))).toEqual([]);
  });
});

describe('compose.yaml', () => {
  const text = read('deploy/compose.yaml');
  const compose = parse(text) as {
    services: Record<string, Record<string, unknown>>;
    volumes: Record<string, unknown>;
  };
  const service = compose.services.coordinator ?? {};

  test('it does not start without a token, and says so', () => {
    const { environment } = service as { environment: Record<string, string> };
    expect(environment.QWEN_COORDINATOR_TOKEN).toMatch(/^\$\{QWEN_COORDINATOR_TOKEN:\?.{10,}\}$/);
  });

  test('its port is bound to loopback', () => {
    expect(service.ports).toEqual([expect.stringMatching(/^127\.0\.0\.1:/)]);
  });

  test('process 1 is an init, and the stop may take as long as the coordinator needs', () => {
    expect(service.init).toBe(true);
    expect(Number.parseInt(String(service.stop_grace_period), 10) * 1000).toBeGreaterThan(STOP_TIMEOUT_MS);
  });

  test('it is healthy when status says so', () => {
    expect(service.healthcheck).toMatchObject({ test: ['CMD', 'qwen-coordinator', 'status'] });
  });

  test('state, home and workspaces are volumes that it declares', () => {
    const mounts = (service.volumes as string[]).map((mount) => mount.split(':').at(-1));
    expect(mounts).toEqual(['/var/lib/qwen-coordinator', '/home/agent', '/workspaces']);
    expect(Object.keys(compose.volumes)).toEqual(['state', 'home', 'workspaces']);
  });

  test('it is built from the Dockerfile, with arguments that are there', () => {
    const { context, args } = service.build as { context: string; args: Record<string, string> };
    const dockerfile = readFileSync(join(ROOT, 'deploy', context, 'Dockerfile'), 'utf8');
    expect(Object.keys(args).filter((name) => !dockerfile.includes(`ARG ${name}=`))).toEqual([]);
  });

  test('it names only variables that flags have', () => {
    expect(variablesIn(text).filter((name) => !VARIABLES.has(name))).toEqual([]);
  });
});

describe('Dockerfile', () => {
  const text = read('Dockerfile');
  const copied = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, list]) =>
    (list ?? '').split(' '),
  );

  test('it runs without privileges, keeps its state in a volume, and is healthy when status says so', () => {
    const [, runtime = ''] = text.split(/^FROM .*$/m).slice(1);
    expect(runtime).toMatch(/^USER 1000:1000$/m);
    expect(runtime).toMatch(/^VOLUME \["\/var\/lib\/qwen-coordinator"\]$/m);
    expect(runtime).toMatch(/^HEALTHCHECK .*CMD \["qwen-coordinator", "status"\]$/m);
  });

  test('it copies only what is there and what .dockerignore lets in', () => {
    const letIn = read('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1).replace(/\/\*\*$/, ''));
    expect(copied.filter((source) => !existsSync(join(ROOT, source)))).toEqual([]);
    expect([...copied].sort()).toEqual([...letIn].sort());
  });

  test('the package is made with its licence', () => {
    expect(copied).toContain('LICENSE');
  });

  test('what the build reads is copied for it', () => {
    const reads = [...read('deploy/build.mjs').matchAll(/readFileSync\(`\$\{root\}\/([\w./-]+)`/g)];
    const imports = [...read('deploy/build.mjs').matchAll(/^import '\.\/([\w.-]+)';$/gm)];
    const wanted = [...reads.map(([, path]) => path ?? ''), ...imports.map(([, name]) => `deploy/${name}`)];
    expect(wanted).toEqual(expect.arrayContaining(['package.json', 'deploy/driver.mjs']));
    expect(wanted.filter((path) => !copied.includes(path))).toEqual([]);
  });

  test('compose.yaml builds from the same Node, one for which nothing is compiled', () => {
    const [, base = ''] = /^ARG NODE_IMAGE=(.*)$/m.exec(text) ?? [];
    expect(read('deploy/compose.yaml')).toContain(`NODE_IMAGE: \${NODE_IMAGE:-${base}}`);
    expect(Number(/^node:(\d+)-/.exec(base)?.[1])).toBeGreaterThanOrEqual(22);
    const [, firstStage = ''] = text.split(/^FROM .*$/m);
    expect(
      firstStage.match(/^RUN if node -p process.version \| grep -q '\^v20\\\.'; then \\\n {6}apt-get/m),
    ).not.toBeNull();
    expect(text.match(/apt-get install/g)).toHaveLength(1);
  });

  test('its settings are refused without a token', () => {
    const env = Object.fromEntries(
      [...text.matchAll(/(QWEN_COORDINATOR_\w+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value]),
    );
    expect(Object.keys(env).filter((name) => !VARIABLES.has(name))).toEqual([]);
    expect(env).not.toHaveProperty('QWEN_COORDINATOR_TOKEN');
    expect(() => parseConfig({}, env, ROOT)).toThrow('needs a token');
  });
});

describe('the package', () => {
  const { files } = (
    JSON.parse(
      execFileSync('npm', ['pack', '--dry-run', '--json'], {
        cwd: ROOT,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    ) as [{ files: { path: string }[] }]
  )[0];
  const paths = files.map(({ path }) => path);

  test('has dist/, docs/ and deploy/, and nothing else but what npm adds', () => {
    const roots = new Set(paths.map((path) => path.split('/')[0] ?? ''));
    expect([...roots].sort()).toEqual(['LICENSE', 'README.md', 'deploy', 'dist', 'docs', 'package.json']);
    const { bin } = JSON.parse(read('package.json')) as { bin: Record<string, string> };
    expect(paths).toEqual(expect.arrayContaining(Object.values(bin)));
  });

  test('imports nothing at run time but what Node has, and the drivers by name', () => {
    const code = paths.filter((path) => /^dist\/.*\.js$/.test(path)).map(read);
    const imported = code.flatMap((text) =>
      [...text.matchAll(/(?:^|[;}\s])(?:import|export)\b[^;'"`()]*?["']([^"'.][^"']*)["']/g)].map(
        ([, name = '']) => name,
      ),
    );
    expect(imported.length).toBeGreaterThan(20);
    const foreign = imported.filter((name) => !isBuiltin(name));
    expect([...new Set(foreign)]).toEqual([]);
    for (const name of ['better-sqlite3', 'better-sqlite3-12'])
      expect(code.filter((text) => text.includes(`"${name}"`))).toHaveLength(1);
  });
});

// A build takes minutes and a network, so it is asked for by naming a base image that podman has:
// QWEN_TEST_NODE_IMAGE=node:24-bookworm-slim
const BASE_IMAGE = process.env.QWEN_TEST_NODE_IMAGE;

function noPodman(): string | undefined {
  if (BASE_IMAGE === undefined) return 'QWEN_TEST_NODE_IMAGE names no base image';
  if (missing('podman') !== undefined) return missing('podman');
  const isThere = spawnSync('podman', ['image', 'exists', BASE_IMAGE]).status === 0;
  return isThere ? undefined : `podman has no image ${BASE_IMAGE}`;
}

describe('the image', () => {
  const reason = noPodman();
  const image = `localhost/qwen-coordinator-test:${process.pid}`;
  const podman = (...args: string[]) => spawnSync('podman', args, { encoding: 'utf8' });

  beforeAll(() => {
    if (reason !== undefined) return;
    const args = [
      'build',
      '--format',
      'docker',
      '--network',
      'host',
      '--build-arg',
      `NODE_IMAGE=${BASE_IMAGE}`,
    ];
    const { status, stderr } = podman(...args, '-t', image, ROOT);
    if (status !== 0) throw new Error(`podman build failed: ${stderr.slice(-2000)}`);
  }, 900_000);
  afterAll(() => {
    if (reason === undefined) podman('rmi', '--force', image);
  });

  testUnless(reason, 'refuses to start without a token', () => {
    const { status, stderr } = podman('run', '--rm', '--network', 'none', image);
    expect(stderr).toContain('needs a token');
    expect(status).toBe(EXIT.usage);
  });

  testUnless(
    reason,
    'runs as a user without privileges, is healthy, and stops in order',
    () => {
      const args = ['run', '--detach', '--init', '--network', 'none', '--env', 'QWEN_COORDINATOR_TOKEN=t'];
      const container = podman(...args, image).stdout.trim();
      closers.push(() => podman('rm', '--force', '--volumes', container));
      const status = until(() => podman('exec', container, 'qwen-coordinator', 'status'));
      expect(status.stdout).toContain('ok');
      expect(podman('exec', container, 'id', '-u').stdout.trim()).toBe('1000');
      podman('stop', '--time', '40', container);
      expect(podman('inspect', '--format', '{{.State.ExitCode}}', container).stdout.trim()).toBe('0');
    },
    120_000,
  );
});

/** Runs the command until it succeeds, at most for some 10 s; returns its last result. */
function until(run: () => ReturnType<typeof spawnSync>) {
  let result = run();
  for (let tries = 0; result.status !== 0 && tries < 40; tries++) {
    spawnSync('sleep', ['0.25']);
    result = run();
  }
  return result;
}
