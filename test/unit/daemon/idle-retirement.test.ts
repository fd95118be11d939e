// How long an agent child without sessions is kept, when both sessions and requests about sessions at rest start and use it.
import { beforeEach, describe, expect, test } from '@jest/globals';
import { AgentSessions } from '../../../daemon/catalog/agent-sessions.ts';
import { DEFAULT_LIMITS } from '../../../daemon/contract/limits.ts';
import { parseCreateRequest } from '../../../daemon/domain/create-request.ts';
import { daemonSessions } from '../../support/daemon-sessions.ts';
import { FakeHost } from '../../support/fake-channel.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { noTranscripts } from '../../support/no-history.ts';
import { SILENT } from '../../support/session-parts.ts';

/** How long a child is kept after its last session, and one that was started for a request about a session at rest. */
const REUSE_MS = DEFAULT_LIMITS.channelReuseMs;
const ANSWER_MS = DEFAULT_LIMITS.agentAnswerTimeoutMs;

class Kit {
  readonly clock = new ManualClock();
  readonly host = new FakeHost(this.clock);
  readonly agentSessions: AgentSessions;
  readonly #parts: ReturnType<typeof daemonSessions>;

  constructor() {
    const { clock, host: agent } = this;
    const ownership = noTranscripts();
    this.#parts = daemonSessions({ clock, agent, ownership, publish: () => 0 });
    const { retirement } = this.#parts;
    const { history } = ownership;
    this.agentSessions = new AgentSessions({
      workspace: '/ws',
      agent,
      retirement,
      history,
      clock,
      limits: DEFAULT_LIMITS,
      log: SILENT,
    });
    this.host.onStart = (channel) => channel.answers.set('session/new', () => ({ sessionId: 'one' }));
  }

  /** A session begins and ends. */
  async useOnce(): Promise<void> {
    const { sessions } = this.#parts;
    const { session } = await sessions.create(parseCreateRequest({}), undefined, () => false);
    sessions.close(session, undefined);
  }
}

describe('an agent child without sessions', () => {
  let kit: Kit;

  beforeEach(() => {
    kit = new Kit();
  });

  test('that a request has started is not ended by the wait that the sessions of an earlier child began', async () => {
    await kit.useOnce();
    kit.host.killNow();
    const channel = await kit.agentSessions.channel();
    kit.clock.advance(ANSWER_MS - 1);
    expect(kit.host.retired).toEqual([]);
    kit.clock.advance(1);
    expect(kit.host.retired).toEqual([channel]);
  });

  test('stays for the next session although the wait of the request that started it is over', async () => {
    const channel = await kit.agentSessions.channel();
    kit.clock.advance(ANSWER_MS - 1);
    await kit.useOnce();
    kit.clock.advance(REUSE_MS - 1);
    expect(kit.host.retired).toEqual([]);
    kit.clock.advance(1);
    expect(kit.host.retired).toEqual([channel]);
  });

  test('stays while a session has it', async () => {
    await kit.agentSessions.channel();
    const create = kit.useOnce();
    kit.clock.advance(ANSWER_MS + REUSE_MS);
    expect(kit.host.retired).toEqual([]);
    await create;
  });
});
