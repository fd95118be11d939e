// Two want what only one may have: a state directory, a workspace. The second is refused in words that name the first.
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually } from '../support/eventually.ts';
import {
  coordinatorProcess,
  daemonProcess,
  endFleets,
  startCoordinator,
  startDaemon,
} from '../support/fleet-process.ts';
import { call, newSession } from '../support/wire-client.ts';

afterEach(endFleets);

describe('a second coordinator on one state directory', () => {
  test('refuses with exit code 3, naming the pid of the first, which goes on', async () => {
    const first = await startCoordinator();
    const { sessionId } = await newSession(first.baseUrl);
    const second = coordinatorProcess({ scratch: first.scratch });
    expect(await second.ended()).toEqual({ code: 3, signal: null });
    expect(second.stderr).toContain(`pid ${first.pid}`);
    expect(second.stderr).toContain(first.stateDir);
    expect((await call(first.baseUrl, 'GET', `/session/${sessionId}/status`)).status).toBe(200);
  });

  test('starts at once when the first was killed', async () => {
    const first = await startCoordinator();
    await first.kill();
    const second = await startCoordinator({ scratch: first.scratch });
    expect((await call(second.baseUrl, 'GET', '/health')).status).toBe(200);
  });

  test('of many that start together exactly one comes to listen', async () => {
    const first = coordinatorProcess();
    const others = [1, 2, 3].map(() => coordinatorProcess({ scratch: first.scratch }));
    const all = [first, ...others];
    const outcomes = await Promise.all(
      all.map((server) =>
        server.listening().then(
          () => 'listens',
          () => server.exit?.code,
        ),
      ),
    );
    expect(outcomes.sort()).toEqual([3, 3, 3, 'listens']);
  });
});

describe('a second daemon on one workspace', () => {
  test('refuses with exit code 3, naming the first', async () => {
    const first = await startDaemon();
    const second = daemonProcess({ scratch: first.scratch });
    expect(await second.ended()).toEqual({ code: 3, signal: null });
    expect(second.stderr).toContain(`pid ${first.pid}`);
    expect(second.stderr).toContain(first.workspace);
    expect((await call(first.baseUrl, 'GET', '/health')).status).toBe(200);
  });

  test('is refused beside a coordinator’s too', async () => {
    const fleet = await startCoordinator();
    await newSession(fleet.baseUrl);
    const { pid, incarnation } = await fleet.diagnosis(0);
    const second = daemonProcess({ scratch: fleet.scratch });
    expect((await second.ended()).code).toBe(3);
    expect(second.stderr).toContain(`pid ${pid}`);
    expect(second.stderr).toContain(String(incarnation));
  });

  test('of a coordinator is a 503 that names the holder, and the workspace works once it is free', async () => {
    const holder = await startDaemon();
    const flags = [
      '--restart-intensity',
      '1000',
      '--restart-first-backoff-ms',
      '20',
      '--restart-max-backoff-ms',
      '50',
    ];
    const fleet = await startCoordinator({ scratch: holder.scratch, flags });
    const answer = await call(fleet.baseUrl, 'POST', '/session', { json: {} });
    expect([answer.status, answer.json.code]).toEqual([503, 'workspace_runtime_unavailable']);
    expect(answer.json.error).toContain(`pid ${holder.pid}`);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    await holder.stop();
    await eventually('a session in the freed workspace', async () => {
      const again = await call(fleet.baseUrl, 'POST', '/session', { json: {} });
      return again.status === 200;
    });
  });
});
