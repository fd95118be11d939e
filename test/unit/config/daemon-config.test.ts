import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseArguments, standaloneConfig } from '../../../daemon/config.ts';
import { ConfigError } from '../../../daemon/contract/flag-values.ts';
import { DEFAULT_LIMITS } from '../../../daemon/contract/limits.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(realpathSync(tmpdir()), 'qc-'));
  mkdirSync(join(dir, 'ws'));
  symlinkSync(join(dir, 'ws'), join(dir, 'link'));
  writeFileSync(join(dir, 'file'), '');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const config = (argv: string[], env: NodeJS.ProcessEnv = {}) => standaloneConfig(parseArguments(argv), env);
const inWorkspace = (...argv: string[]) => config(['--workspace', join(dir, 'ws'), ...argv]);

describe('workspace', () => {
  test('is canonicalised once', () => {
    expect(config(['--workspace', join(dir, 'link')]).workspace).toBe(join(dir, 'ws'));
  });

  test.each([
    ['no workspace', () => [], '--workspace is required'],
    ['a relative one', () => ['--workspace', 'ws'], '--workspace must be an absolute path'],
    ['a missing one', () => ['--workspace', join(dir, 'nope')], '--workspace does not exist'],
    ['a file', () => ['--workspace', join(dir, 'file')], '--workspace is not a directory'],
  ])('%s is refused and the flag is named', (_what, argv, message) => {
    expect(() => config(argv())).toThrow(ConfigError);
    expect(() => config(argv())).toThrow(message);
  });
});

describe('flags', () => {
  test('the defaults are those of the limits table', () => {
    const { limits, listen, agent, permissionPolicy } = inWorkspace();
    expect(limits).toEqual(DEFAULT_LIMITS);
    expect(listen).toEqual({ kind: 'tcp', host: '127.0.0.1', port: 4170 });
    expect([agent, permissionPolicy]).toEqual(['qwen', 'first-responder']);
  });

  test('an IPv6 address is bound without the brackets of a URL', () => {
    expect(inWorkspace('--hostname', '[::1]').listen).toMatchObject({ host: '::1' });
  });

  test('a limit is taken from its flag', () => {
    expect(inWorkspace('--max-sessions', '7').limits.maxSessions).toBe(7);
  });

  test.each([
    [['--max-sessions', '-1'], '--max-sessions'],
    [['--max-sessions', 'many'], '--max-sessions must be a whole number from 0'],
    [['--event-ring-size', '1000001'], '--event-ring-size must be a whole number from 1 to 1000000'],
    [['--port', '70000'], '--port must be'],
    [['--socket', 'here.sock'], '--socket must be an absolute path'],
    [['--hostname', ''], '--hostname must not be empty'],
    [['--hostname', '[]'], '--hostname must not be empty'],
    [['--permission-policy', 'anarchy'], '--permission-policy must be one of'],
    [['--consensus-quorum', '2'], '--consensus-quorum needs --permission-policy consensus'],
    [['--permission-policy', 'consensus', '--consensus-quorum', '0'], '--consensus-quorum must be'],
    [['--allow-origin', 'https://example.org/path'], '--allow-origin must be'],
    [['--log-level', 'loud'], '--log-level must be one of'],
    [['--nonsense'], '--nonsense'],
  ])('%j is refused with its reason', (argv, message) => {
    expect(() => inWorkspace(...argv)).toThrow(ConfigError);
    expect(() => inWorkspace(...argv)).toThrow(message);
  });

  test('the peer flags of the reference server are known', () => {
    const names = [
      'max-sessions max-total-sessions max-pending-prompts-per-session max-connections event-ring-size',
      'prompt-deadline-ms writer-idle-timeout-ms channel-idle-timeout-ms initialize-timeout-ms',
      'session-restore-timeout-ms session-reap-interval-ms session-idle-timeout-ms',
      'session-prompt-settled-close-grace-ms permission-response-timeout-ms rate-limit-prompt',
      'rate-limit-mutation rate-limit-read rate-limit-window-ms',
    ].flatMap((line) => line.split(' '));
    for (const name of names) expect(() => inWorkspace(`--${name}`, '5')).not.toThrow();
  });
});

describe('token', () => {
  test('comes from the flag, else from the environment, trimmed', () => {
    const argv = ['--workspace', join(dir, 'ws')];
    expect(config([...argv, '--token', 'a'], { QWEN_SERVER_TOKEN: 'b' }).token).toBe('a');
    expect(config(argv, { QWEN_SERVER_TOKEN: ' b ' }).token).toBe('b');
    expect(config(argv, { QWEN_SERVER_TOKEN: ' ' }).token).toBeUndefined();
  });

  test.each([
    [['--require-auth'], '--require-auth needs a token'],
    [['--hostname', '0.0.0.0'], '--hostname 0.0.0.0 can be reached from other machines'],
    [['--allow-origin', '*'], '--allow-origin * needs a token'],
    [['--allow-origin', 'https://example.org'], '--allow-origin https://example.org needs a token'],
  ])('%j without one refuses the start', (argv, message) => {
    expect(() => inWorkspace(...argv)).toThrow(message);
  });

  test('a local origin needs none', () => {
    expect(inWorkspace('--allow-origin', 'http://localhost:3000').allowedOrigins).toEqual([
      'http://localhost:3000',
    ]);
  });

  test('never reaches the agent', () => {
    const env = {
      QWEN_SERVER_TOKEN: 'a',
      QWEN_COORDINATOR_TOKEN: 'b',
      QWEN_COORDINATOR_PORT: '1',
      HOME: '/h',
    };
    expect(config(['--workspace', join(dir, 'ws')], env).agentEnv).toEqual({ HOME: '/h' });
  });
});
