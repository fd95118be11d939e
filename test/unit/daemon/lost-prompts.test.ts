import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Session } from '../../../daemon/session/session.ts';
import { settled } from '../../support/manual-clock.ts';
import { RestoreWorld } from '../../support/restore-world.ts';
import { eventsOf } from '../../support/session-parts.ts';

let world: RestoreWorld;
beforeEach(() => {
  world = new RestoreWorld();
});
afterEach(() => world.end());

describe('a prompt that the coordinator calls lost', () => {
  const toldOf = (promptId: string) =>
    world.records.flatMap((body) =>
      body.type === 'prompt' && body.prompt.promptId === promptId ? [body.prompt] : [],
    );
  const errorsOn = ({ bus }: Session) =>
    eventsOf(bus).flatMap(({ type, promptId }) => (type === 'turn_error' ? [promptId] : []));

  test.each([
    ['turn_complete', { stopReason: 'end_turn' }, { state: 'completed', outcome: 'end_turn' }],
    ['turn_complete', { stopReason: 'cancelled' }, { state: 'completed', outcome: 'cancelled' }],
    ['turn_error', { code: 'daemon_restarted' }, { state: 'failed', outcome: 'daemon_restarted' }],
    ['turn_error', { message: 'no code' }, { state: 'failed', outcome: 'turn_error' }],
  ])(
    'and whose %s %j is in the transcript is told with that end, and not reported',
    async (type, data, end) => {
      world.leftBehind([{ type, promptId: 'p-1', data: { promptId: 'p-1', ...data } }]);
      await world.restore({ lostPrompts: ['p-1', 'p-2'] });
      expect(toldOf('p-1')).toEqual([{ promptId: 'p-1', sessionId: 'old', atMs: 77, ...end }]);
      expect(errorsOn(world.sessions.get('old'))).toEqual(['p-2']);
    },
  );

  test('is found however many ends the transcript has', async () => {
    const ends = Array.from({ length: 100 }, (_value, index) => `p-${index}`).map((promptId) => ({
      type: 'turn_complete',
      promptId,
      data: { promptId, stopReason: 'end_turn' },
    }));
    world.leftBehind(ends);
    await world.restore({ lostPrompts: ['p-0'] });
    expect(toldOf('p-0')).toMatchObject([{ state: 'completed' }]);
    expect(errorsOn(world.sessions.get('old'))).toEqual([]);
  });

  test('and that ended with the end of its daemon is reported: streams were over by then', async () => {
    world.leftBehind([
      { type: 'turn_error', promptId: 'p-1', data: { promptId: 'p-1', code: 'daemon_shutdown' } },
    ]);
    await world.restore({ lostPrompts: ['p-1'] });
    expect(errorsOn(world.sessions.get('old'))).toEqual(['p-1']);
    expect(toldOf('p-1')).toMatchObject([{ state: 'failed', outcome: 'daemon_restarted' }]);
  });

  test.each([
    ['we keep', false],
    ['the agent keeps', true],
  ])(
    'in a transcript that %s is reported once by daemon after daemon, none of which is heard',
    async (_who, isKept) => {
      for (const reported of [['p-1'], [], []]) {
        const next = new RestoreWorld({}, world.dir);
        next.keepsTranscripts = isKept;
        await next.restore({ lostPrompts: ['p-1'] });
        const session = next.sessions.get('old');
        expect(session.past.isRecorded).toBe(!isKept);
        expect(errorsOn(session)).toEqual(reported);
        expect(session.past.replay.terminals()).toMatchObject([{ promptId: 'p-1', terminal: 'interrupted' }]);
      }
    },
  );

  test('is in the transcript before the coordinator is told', async () => {
    let wasWritten: boolean | undefined;
    world.onRecord = (body) => {
      if (body.type !== 'prompt') return;
      const files = readdirSync(world.dir).map((name) => readFileSync(join(world.dir, name), 'utf8'));
      wasWritten = files.some((text) => text.includes('daemon_restarted'));
    };
    await world.restore({ lostPrompts: ['p-1'] });
    expect(wasWritten).toBe(true);
  });

  test('is reported once to two coordinators of which the first dies while the agent loads', async () => {
    world.isLoadAnswered = false;
    const both = [world.restore({ lostPrompts: ['p-1'] }), world.restore({ lostPrompts: ['p-1'] })];
    await settled();
    world.channel.next('session/load').answer({});
    await Promise.all(both);
    expect(errorsOn(world.sessions.get('old'))).toEqual(['p-1']);
    expect(toldOf('p-1').map(({ outcome }) => outcome)).toContain('daemon_restarted');
  });

  test('is reported once where a client’s load finds it in the transcript first', async () => {
    const data = { sessionId: 'old', update: { sessionUpdate: 'user_message_chunk', content: {} } };
    world.leftBehind([{ type: 'session_update', promptId: 'p-1', data }]);
    const { session } = await world.load();
    await world.restore({ lostPrompts: ['p-1'] });
    expect(errorsOn(session)).toEqual(['p-1']);
  });
});
