import { expect, test } from '@jest/globals';
import { ReleaseCall } from '../../../coordinator/supervise/daemon/release.ts';
import { ApiError, fail } from '../../../daemon/contract/errors.ts';
import { silentLog } from '../../support/fleet-fixture.ts';
import { ManualClock, settled } from '../../support/manual-clock.ts';

const endpoint = {
  workspaceId: 'ws',
  incarnation: 'ws-1',
  address: { kind: 'unix', path: '/s' } as const,
  secret: 'x',
};

/** A daemon that gives these answers, one a question; an error is thrown. */
function fixture(...answers: (boolean | Error)[]) {
  const clock = new ManualClock();
  const asked: boolean[] = [];
  const call = new ReleaseCall(
    {
      clock,
      log: silentLog,
      link: {
        endStreams: () => undefined,
        release: (_endpoint, { onlyIfQuiet }) => {
          asked.push(onlyIfQuiet);
          const answer = answers.shift() ?? false;
          return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
        },
      },
    },
    endpoint,
  );
  const heard: string[] = [];
  const again = (what: string) => () => {
    heard.push(what);
    ask();
  };
  const ask = () =>
    call.ifQuiet({ done: () => heard.push('done'), busy: again('busy'), again: again('again') });
  return { clock, asked, ask, heard, call };
}

test.each([
  ['is busy', false, 'busy', 'working'],
  ['does not answer in time', fail('workspace_runtime_unavailable', 'timed out'), 'again', 'unsure'],
  ['breaks off', new Error('socket hang up'), 'again', 'unsure'],
])('a daemon that %s is asked again, and goes only when it says so', async (_how, answer, call, state) => {
  const fix = fixture(answer, true);
  fix.ask();
  await settled();
  expect([fix.heard, fix.call.state]).toEqual([[], state]);
  fix.clock.advance(100);
  await settled();
  expect(fix.heard).toEqual([call, 'done']);
  expect(fix.asked).toEqual([true, true]);
});

test('a daemon of another version that does not know the question is let go', async () => {
  const fix = fixture(new ApiError({ status: 404, code: undefined, message: 'Not found' }));
  fix.ask();
  await settled();
  expect(fix.heard).toEqual(['done']);
});
