import { expect, test } from '@jest/globals';
import { strippedEnvironment } from '../../../coordinator/launch/environment.ts';

test("a daemon sees none of the coordinator's secrets and settings", () => {
  const env = {
    QWEN_SERVER_TOKEN: 'a',
    QWEN_COORDINATOR_TOKEN: 'b',
    QWEN_COORDINATOR_STATE_DIR: '/s',
    QWEN_COORDINATOR_INCARNATION: 'of-a-coordinator-above',
    NOTIFY_SOCKET: '/run/systemd/notify',
    LISTEN_FDS: '1',
    WATCHDOG_USEC: '1000',
  };
  expect(strippedEnvironment(env)).toEqual({});
});

test('a daemon keeps what the agent needs, NODE_OPTIONS and provider keys included', () => {
  const env = {
    PATH: '/bin',
    HOME: '/h',
    NODE_OPTIONS: '--use-openssl-ca',
    OPENAI_API_KEY: 'k',
    QWEN_MODEL: 'm',
  };
  expect(strippedEnvironment({ ...env, UNSET: undefined })).toEqual(env);
});
