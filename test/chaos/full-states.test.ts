// kill -9 of coordinator, daemon and agent at every state of a daemon's life, and a crowd at a closed door.
import { afterEach, describe, expect, test } from '@jest/globals';
import { endFleets, startCoordinator } from '../support/fleet-process.ts';
import { BLOWS, strike } from '../support/moments.ts';
import { seeded } from '../support/seeded.ts';
import { rowsOf } from '../support/state-database.ts';
import { call } from '../support/wire-client.ts';

afterEach(endFleets);

describe('kill -9 of', () => {
  test.each(BLOWS.map(({ name, moment, victim }) => [name, moment, victim] as const))(
    'the %s: nothing acknowledged is lost, nothing is left behind',
    async (_name, moment, victim) => {
      const { totals, violations } = await strike(moment, victim, seeded(20_261_120));
      expect(violations).toEqual([]);
      expect(totals.lost).toBe(0);
      expect(totals.completed).toBeGreaterThan(0);
    },
    90_000,
  );
});

describe('five hundred demands for a cold workspace', () => {
  const demands = (baseUrl: string) =>
    Promise.all(Array.from({ length: 500 }, () => call(baseUrl, 'POST', '/session', { json: {} })));

  test('start one process; those over --max-waiters are told when to come again', async () => {
    const server = await startCoordinator({ flags: ['--max-waiters', '300', '--max-connections', '0'] });
    const answers = await demands(server.baseUrl);
    const refused = answers.filter(({ status }) => status !== 200);
    for (const { status, json, headers } of refused) {
      expect([status, typeof json.error]).toEqual([503, 'string']);
      expect(Number(headers['retry-after'])).toBeGreaterThan(0);
    }
    const served = answers.filter(({ status }) => status === 200);
    expect(served.length).toBeGreaterThanOrEqual(300);
    expect(new Set(served.map(({ json }) => json.sessionId)).size).toBe(1);
    expect(rowsOf(server.stateDir, 'SELECT * FROM daemons')).toHaveLength(1);
  });

  test('start one process, and with room for all every one is served', async () => {
    const server = await startCoordinator({ flags: ['--max-waiters', '500', '--max-connections', '0'] });
    const answers = await demands(server.baseUrl);
    expect(answers.filter(({ status }) => status !== 200).map(({ text }) => text)).toEqual([]);
    expect(new Set(answers.map(({ json }) => json.sessionId)).size).toBe(1);
    expect(rowsOf(server.stateDir, 'SELECT * FROM daemons')).toHaveLength(1);
    expect(rowsOf(server.stateDir, 'SELECT * FROM session_clients')).toHaveLength(500);
  });
});
