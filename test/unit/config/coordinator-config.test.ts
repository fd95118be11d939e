import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseConfig, parseSweepConfig, stateDirOf } from '../../../coordinator/config.ts';
import {
  FLAGS,
  flagVariable,
  LIMIT_FLAGS,
  restartFlag,
  SUPERVISION_FLAGS,
  settingFlag,
} from '../../../coordinator/flags.ts';
import {
  DEFAULT_SUPERVISE_SETTINGS,
  RESTARTS,
  type SettingSpec,
  SUPERVISION,
} from '../../../coordinator/supervise/settings.ts';
import { ConfigError, type FlagValues } from '../../../daemon/contract/flag-values.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(realpathSync(tmpdir()), 'qc-'));
  for (const name of ['a', 'b', 'root']) mkdirSync(join(dir, name));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const config = (flags: FlagValues = {}, env: NodeJS.ProcessEnv = {}) => parseConfig(flags, env, dir);

const ranges = (table: Readonly<Record<string, SettingSpec>>, flagOf: (key: string) => string) =>
  Object.entries(table).map(([key, { min, max }]) => [flagOf(key), min, max] as const);

describe('workspaces', () => {
  test('relative ones count from the current directory, and the order is kept', () => {
    expect(config({ workspace: ['b', './a', 'b'] }).workspaces).toEqual([join(dir, 'b'), join(dir, 'a')]);
  });

  test('without any, the current directory is served', () => {
    expect(config().workspaces).toEqual([dir]);
  });

  test('with a root alone there is none', () => {
    expect(config({ root: ['root'] })).toMatchObject({ workspaces: [], roots: [join(dir, 'root')] });
  });

  test('the environment holds a list like PATH', () => {
    const env = { QWEN_COORDINATOR_WORKSPACE: `${join(dir, 'a')}:${join(dir, 'b')}` };
    expect(config({}, env).workspaces).toEqual([join(dir, 'a'), join(dir, 'b')]);
  });

  test.each(['workspace', 'root'])('a missing --%s is refused by name', (flag) => {
    expect(() => config({ [flag]: ['nope'] })).toThrow(`--${flag} does not exist: ${join(dir, 'nope')}`);
  });
});

describe('precedence', () => {
  test('a flag wins over its variable, a variable over the default', () => {
    const env = { QWEN_COORDINATOR_PORT: '5000', QWEN_COORDINATOR_MAX_DAEMONS: '3' };
    expect(config({ port: '6000' }, env).listen).toMatchObject({ port: 6000 });
    expect(config({}, env).listen).toMatchObject({ port: 5000 });
    expect(config({}, env).supervise.maxDaemons).toBe(3);
    expect(config().listen).toMatchObject({ port: 4170 });
  });

  test('our own token variable wins over the one that clients read', () => {
    const env = { QWEN_SERVER_TOKEN: 'server', QWEN_COORDINATOR_TOKEN: 'ours' };
    expect(config({}, env).token).toBe('ours');
    expect(config({}, { QWEN_SERVER_TOKEN: 'server' }).token).toBe('server');
  });

  test('a switch can be set by its variable', () => {
    expect(config({ token: 't' }, { QWEN_COORDINATOR_REQUIRE_AUTH: 'true' }).requireAuth).toBe(true);
  });
});

describe('numbers', () => {
  test('supervision keeps its defaults where nothing is said', () => {
    expect(config().supervise).toEqual(DEFAULT_SUPERVISE_SETTINGS);
  });

  test('every number of supervision and of the limits can be set by its flag', () => {
    for (const [key, { fallback }] of Object.entries(SUPERVISION)) {
      const { supervise } = config({ [settingFlag(key)]: String(fallback + 1) });
      expect([key, supervise[key as 'maxDaemons']]).toEqual([key, fallback + 1]);
    }
    for (const [key, { fallback }] of Object.entries(RESTARTS)) {
      const { restart } = config({ [restartFlag(key)]: String(fallback + 1) }).supervise;
      expect([key, restart[key as 'intensity']]).toEqual([key, fallback + 1]);
    }
    for (const { flag } of LIMIT_FLAGS) expect(() => config({ [flag]: 'x' })).toThrow(`--${flag} must be`);
  });

  test.each([...ranges(SUPERVISION, settingFlag), ...ranges(RESTARTS, restartFlag)])(
    '--%s is refused outside of %d to %d',
    (flag, min, max) => {
      for (const value of [min - 1, max + 1])
        expect(() => config({ [flag]: String(value) })).toThrow(
          `--${flag} must be a whole number from ${min} to ${max}, got "${value}"`,
        );
    },
  );

  test.each(['seen-batch-rows', 'liveness-period-ms', 'max-concurrent-starts', 'restore-concurrency'])(
    '--%s has no meaning at 0',
    (flag) => {
      expect(() => config({ [flag]: '0' })).toThrow(`--${flag} must be a whole number from`);
    },
  );

  test.each<[FlagValues, string]>([
    [{ 'stop-grace-ms': '10000' }, '--stop-grace-ms (10000) must be longer than --shutdown-grace-ms (10000)'],
    [
      { 'shutdown-grace-ms': '15000' },
      '--stop-grace-ms (15000) must be longer than --shutdown-grace-ms (15000)',
    ],
    [
      { 'session-restore-timeout-ms': '80000' },
      '--restore-timeout-ms (75000) must be longer than --session-restore-timeout-ms (80000)',
    ],
    [
      { 'restart-max-backoff-ms': '499' },
      '--restart-max-backoff-ms (499) must not be shorter than --restart-first-backoff-ms (500)',
    ],
  ])('%j contradicts another number', (flags, message) => {
    expect(() => config(flags)).toThrow(ConfigError);
    expect(() => config(flags)).toThrow(message);
  });

  test('no two flags share a name', () => {
    const names = [
      ...Object.keys(FLAGS),
      ...SUPERVISION_FLAGS.map(({ flag }) => flag),
      ...LIMIT_FLAGS.map(({ flag }) => flag),
    ];
    expect(new Set(names).size).toBe(names.length);
  });
});

test('an IPv6 address is bound without the brackets of a URL', () => {
  for (const host of ['::1', '[::1]']) expect(config({ host }).listen).toMatchObject({ host: '::1' });
  expect(() => config({ host: '[::]' })).toThrow('--host :: can be reached from other machines');
});

describe('a sweep', () => {
  const sweep = (env: NodeJS.ProcessEnv) => parseSweepConfig({ 'state-dir': 's' }, env, dir);

  test('reads the state directory, the log level and the grace, and nothing else', () => {
    const env = {
      QWEN_COORDINATOR_LOG_LEVEL: 'warn',
      QWEN_COORDINATOR_STOP_GRACE_MS: '7',
      QWEN_COORDINATOR_WORKSPACE: '/gone',
      QWEN_COORDINATOR_HOST: '0.0.0.0',
      QWEN_COORDINATOR_PORT: 'none',
    };
    expect(sweep(env)).toEqual({ stateDir: join(dir, 's'), logLevel: 'warn', stopGraceMs: 7 });
    expect(() => config({}, env)).toThrow(ConfigError);
  });

  test('has the defaults of a start', () => {
    const { logLevel, supervise } = config();
    expect(sweep({})).toMatchObject({ logLevel, stopGraceMs: supervise.stopGraceMs });
  });

  test('refuses a wrong one by its flag', () => {
    expect(() => sweep({ QWEN_COORDINATOR_STOP_GRACE_MS: 'soon' })).toThrow('--stop-grace-ms must be');
  });
});

test('no flag begins with no-: the command line would take it for a switch that is on unless it is given', () => {
  const flags = [...Object.keys(FLAGS), ...[...SUPERVISION_FLAGS, ...LIMIT_FLAGS].map(({ flag }) => flag)];
  expect(flags.filter((flag) => flag.startsWith('no-'))).toEqual([]);
});

describe('refusals', () => {
  test.each<[FlagValues, string]>([
    [{ host: '0.0.0.0' }, '--host 0.0.0.0 can be reached from other machines and needs a token'],
    [{ 'require-auth': true }, '--require-auth needs a token'],
    [{ port: '99999' }, '--port must be'],
    [{ 'max-daemons': '-1' }, '--max-daemons must be a whole number'],
    [{ socket: 'x.sock' }, '--socket must be an absolute path'],
    [
      { socket: `/${'x'.repeat(100)}` },
      `--socket: the socket path /${'x'.repeat(100)} has 101 bytes, the limit is 100`,
    ],
    [{ host: '' }, '--host must not be empty'],
    [{ host: '[]' }, '--host must not be empty'],
    [{ 'log-level': 'loud' }, '--log-level must be one of'],
    [{ 'permission-policy': 'anarchy' }, '--permission-policy must be one of'],
    [{ 'allow-origin': ['*'] }, '--allow-origin * needs a token'],
  ])('%j', (flags, message) => {
    expect(() => config(flags)).toThrow(ConfigError);
    expect(() => config(flags)).toThrow(message);
  });
});

test('the state directory is named, else the XDG one, else below the home directory', () => {
  expect(stateDirOf('s', {}, '/here')).toBe('/here/s');
  expect(stateDirOf(undefined, { [flagVariable('state-dir')]: '/env' }, '/here')).toBe('/env');
  expect(stateDirOf(undefined, { XDG_STATE_HOME: '/xdg', HOME: '/h' }, '/')).toBe('/xdg/qwen-coordinator');
  expect(stateDirOf(undefined, { HOME: '/h' }, '/')).toBe('/h/.local/state/qwen-coordinator');
});
