// Transcripts that the agent keeps and pages itself, over a fake agent: what goes to it, what comes back, how it refuses.

import { describe, expect, test } from '@jest/globals';
import { AgentCallError, METHOD_NOT_FOUND, type Params } from '../../../daemon/agent/agent.ts';
import { AgentSessions } from '../../../daemon/catalog/agent-sessions.ts';
import { Transcripts } from '../../../daemon/catalog/transcripts.ts';
import { ApiError } from '../../../daemon/contract/errors.ts';
import { DEFAULT_LIMITS } from '../../../daemon/contract/limits.ts';
import { parseCreateRequest } from '../../../daemon/domain/create-request.ts';
import type { LiveSessions } from '../../../daemon/sessions/live-sessions.ts';
import { daemonSessions } from '../../support/daemon-sessions.ts';
import { FakeHost } from '../../support/fake-channel.ts';
import { ManualClock, settled } from '../../support/manual-clock.ts';
import { noTranscripts } from '../../support/no-history.ts';
import { SILENT } from '../../support/session-parts.ts';

const TRANSCRIPT = 'qwen/status/session/transcript';
const TURN_INDEX = 'qwen/status/session/turn_index';

type Answers = Readonly<Record<string, (params: Params) => unknown>>;

/** Nothing is recorded and nothing is live; the agent answers as the test has it. */
class Kit {
  readonly clock = new ManualClock();
  readonly host = new FakeHost(this.clock);
  readonly sessions: LiveSessions;
  readonly transcripts: Transcripts;
  readonly asked: (readonly [string, Params])[] = [];

  constructor(answers: Answers) {
    this.host.onStart = (channel) => {
      for (const [method, answer] of Object.entries(answers))
        channel.answers.set(method, (params) => {
          this.asked.push([method, params]);
          return answer(params);
        });
    };
    const ownership = noTranscripts();
    const { clock, host: agent } = this;
    const parts = daemonSessions({ clock, agent, ownership, publish: () => 0 });
    const shared = { workspace: '/ws', limits: DEFAULT_LIMITS };
    const { retirement, sessions } = parts;
    const { history } = ownership;
    const agentSessions = new AgentSessions({ ...shared, agent, retirement, history, clock, log: SILENT });
    this.sessions = sessions;
    this.transcripts = new Transcripts({ ...shared, sessions, history, ownership, agentSessions });
  }
}

async function refusal(run: Promise<unknown>): Promise<unknown> {
  try {
    await run;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return [error.status, error.code];
  }
  return undefined;
}

const event = { id: 7, v: 1, type: 'session_update', data: { sessionUpdate: 'agent_message_chunk' } };

describe('an agent that pages its transcripts itself', () => {
  test('is asked for the page as the client asked, and its answer goes on without ids', async () => {
    const page = { events: [event], nextCursor: 'theirs', hasMore: true, partial: true, internal: 1 };
    const kit = new Kit({ [TRANSCRIPT]: () => page, [TURN_INDEX]: () => ({ turns: [] }) });
    const query = { limit: 5, atRecordId: 'r', snapshot: 'opaque to us' };
    const { id: _, ...shown } = event;
    expect(await kit.transcripts.page('s', query)).toEqual({
      v: 1,
      sessionId: 's',
      events: [shown],
      hasMore: true,
      nextCursor: 'theirs',
      partial: true,
    });
    expect(kit.asked.at(-1)).toEqual([TRANSCRIPT, { sessionId: 's', ...query }]);
  });

  test('is asked by its own spelling of the id', async () => {
    const spelled = '3F333DF6-90A4-4FDA-8DD3-9485D27CEE36';
    const kit = new Kit({
      'session/new': () => ({ sessionId: spelled }),
      [TRANSCRIPT]: () => ({ events: [event] }),
      [TURN_INDEX]: () => ({ turns: [] }),
    });
    await kit.sessions.create(parseCreateRequest({}), undefined, () => false);
    await kit.transcripts.page(spelled.toLowerCase(), { limit: 5 });
    expect(kit.asked.at(-1)).toEqual([TRANSCRIPT, { sessionId: spelled, limit: 5 }]);
  });

  test('is asked for the index of turns too', async () => {
    const kit = new Kit({
      [TRANSCRIPT]: () => ({ events: [] }),
      [TURN_INDEX]: () => ({ totalTurns: 3, turns: [] }),
    });
    const index = await kit.transcripts.turnIndex('s', { start: 1, limit: 2 });
    expect(index).toEqual({ v: 1, sessionId: 's', totalTurns: 3, turns: [] });
    expect(kit.asked.at(-1)).toEqual([TURN_INDEX, { sessionId: 's', start: 1, limit: 2 }]);
  });

  test.each([
    ['transcript_snapshot_unavailable', 409],
    ['transcript_too_large', 413],
    ['transcript_page_too_large', 413],
    ['invalid_turn_anchor', 400],
  ])('refuses with %s, which clients read as %d', async (errorKind, status) => {
    const kit = new Kit({
      [TURN_INDEX]: () => ({ turns: [] }),
      [TRANSCRIPT]: () => {
        throw new AgentCallError(-32010, 'refused', { errorKind });
      },
    });
    expect(await refusal(kit.transcripts.page('s', { limit: 1 }))).toEqual([status, errorKind]);
  });
});

describe('an agent that only tells its transcripts', () => {
  const withoutIndex = {
    [TURN_INDEX]: () => {
      throw new AgentCallError(METHOD_NOT_FOUND, 'Method not found');
    },
  };

  test('has them paged here', async () => {
    const kit = new Kit({ ...withoutIndex, [TRANSCRIPT]: () => ({ events: [event, event] }) });
    const page = await kit.transcripts.page('s', { limit: 1, direction: 'backward' });
    expect(page).toMatchObject({ v: 1, sessionId: 's', hasMore: true, nextCursor: expect.any(String) });
  });

  test('knows no session of which it tells nothing', async () => {
    const kit = new Kit({ ...withoutIndex, [TRANSCRIPT]: () => ({ events: [] }) });
    expect(await refusal(kit.transcripts.page('s', { limit: 1 }))).toEqual([404, 'session_not_found']);
  });
});

test('an agent without transcripts is let go again when it was only started to ask', async () => {
  const kit = new Kit({});
  expect(await refusal(kit.transcripts.page('s', { limit: 1 }))).toEqual([404, 'session_not_found']);
  expect(kit.host.current()).toBeDefined();
  kit.clock.advance(Math.max(DEFAULT_LIMITS.channelIdleTimeoutMs, DEFAULT_LIMITS.agentAnswerTimeoutMs));
  await settled();
  expect(kit.host.current()).toBeUndefined();
});
