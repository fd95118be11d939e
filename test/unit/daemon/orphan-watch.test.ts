// A daemon without a coordinator, on a clock that stands still: when it refuses work, when it ends, and what calls that off.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { FeedBeat } from '../../../daemon/contract/feed.ts';
import { DEFAULT_LIMITS } from '../../../daemon/contract/limits.ts';
import { parseCreateRequest } from '../../../daemon/domain/create-request.ts';
import { OrphanWatch } from '../../../daemon/feed/orphan-watch.ts';
import { FeedPublisher } from '../../../daemon/feed/publisher.ts';
import type { Session } from '../../../daemon/session/session.ts';
import { FakeResponse } from '../../support/fake-response.ts';
import { settled } from '../../support/manual-clock.ts';
import { RestoreWorld } from '../../support/restore-world.ts';
import { SILENT } from '../../support/session-parts.ts';

const ORPHAN_LIMIT = 60_000;
const DRAIN = 30_000;
const LOOK = 1000;
const GONE = 'no coordinator has read the feed for too long';

/** A daemon with one session and no reader of its feed. */
class Alone extends RestoreWorld {
  readonly feed: FeedPublisher;
  readonly ends: string[] = [];
  readonly #watch: OrphanWatch;

  constructor(orphanLimitMs = ORPHAN_LIMIT) {
    super();
    const { clock, sessions } = this;
    const limits = { ...DEFAULT_LIMITS, orphanLimitMs, orphanDrainMs: DRAIN };
    this.feed = new FeedPublisher({
      clock,
      log: SILENT,
      limits,
      reports: {
        snapshot: () => ({
          contract: 1,
          incarnation: 'ws-1',
          version: 'test',
          sessions: [],
          prompts: [],
          openPermissions: [],
          agent: null,
        }),
        beat: () => ({}) as FeedBeat,
      },
    });
    this.#watch = new OrphanWatch({
      clock,
      log: SILENT,
      limits,
      sessions,
      feed: this.feed,
      end: (why) => this.ends.push(why),
    });
    clock.every(LOOK, () => this.#watch.look());
  }

  async session(): Promise<Session> {
    const { session } = await this.sessions.create(parseCreateRequest({}), undefined, () => false);
    return session;
  }

  /** A coordinator that reads the feed. */
  follow(): FakeResponse {
    const reader = new FakeResponse();
    this.feed.follow(reader.res);
    return reader;
  }

  /** `taken`, or the code with which new work is refused. */
  get newWork(): unknown {
    try {
      this.sessions.intake.check();
      return 'taken';
    } catch (error) {
      return (error as { readonly code: string }).code;
    }
  }
}

const PROMPT = { prompt: [{ type: 'text', text: 'hello' }] };

let daemon: Alone;
beforeEach(() => {
  daemon = new Alone();
});
afterEach(() => daemon.end());

describe('a daemon whose feed nobody reads', () => {
  test('takes work up to its orphan limit, and ends right after it where it has none', async () => {
    await daemon.session();
    daemon.clock.advance(ORPHAN_LIMIT);
    expect([daemon.newWork, daemon.ends]).toEqual(['taken', []]);
    daemon.clock.advance(LOOK);
    expect([daemon.newWork, daemon.ends]).toEqual(['daemon_draining', [GONE]]);
  });

  test('ends a running turn and the queued one behind it no sooner than they end', async () => {
    const session = await daemon.session();
    for (let count = 0; count < 2; count += 1) session.turns.submit(PROMPT, undefined);
    daemon.clock.advance(ORPHAN_LIMIT + LOOK);
    expect([daemon.newWork, daemon.ends]).toEqual(['daemon_draining', []]);
    for (let count = 0; count < 2; count += 1) {
      daemon.clock.advance(LOOK);
      expect(daemon.ends).toEqual([]);
      daemon.channel.next('session/prompt').answer({ stopReason: 'end_turn' });
      await settled();
    }
    daemon.clock.advance(LOOK);
    expect(daemon.ends).toEqual([GONE]);
  });

  test('waits for the work that the agent holds', async () => {
    const session = await daemon.session();
    session.backgroundWorkReported([{ category: 'task' }]);
    daemon.clock.advance(ORPHAN_LIMIT + 2 * LOOK);
    expect(daemon.ends).toEqual([]);
    session.backgroundWorkReported([]);
    daemon.clock.advance(LOOK);
    expect(daemon.ends).toEqual([GONE]);
  });

  test('lets a session that is being opened come to be', async () => {
    await daemon.host.channel();
    daemon.channel.answers.delete('session/new');
    daemon.clock.advance(ORPHAN_LIMIT);
    const opening = daemon.session();
    await settled();
    daemon.clock.advance(2 * LOOK);
    expect([daemon.newWork, daemon.ends]).toEqual(['daemon_draining', []]);
    daemon.channel.next('session/new').answer({ sessionId: 'old' });
    expect((await opening).hasEnded).toBe(false);
    daemon.clock.advance(LOOK);
    expect(daemon.ends).toEqual([GONE]);
  });

  test('ends what does not end in time', async () => {
    const session = await daemon.session();
    session.turns.submit(PROMPT, undefined);
    daemon.clock.advance(ORPHAN_LIMIT + LOOK + DRAIN - 1);
    expect(daemon.ends).toEqual([]);
    daemon.clock.advance(1);
    expect(daemon.ends).toEqual([`${GONE}, and its work did not end in time`]);
  });

  test('goes on for ever without a limit', () => {
    daemon.end();
    daemon = new Alone(0);
    daemon.clock.advance(100 * ORPHAN_LIMIT);
    expect([daemon.newWork, daemon.ends]).toEqual(['taken', []]);
  });
});

describe('a coordinator that reads the feed', () => {
  test('again calls the end off: work is taken, and another absence has the whole limit again', async () => {
    const session = await daemon.session();
    session.turns.submit(PROMPT, undefined);
    daemon.clock.advance(ORPHAN_LIMIT + DRAIN);
    expect(daemon.newWork).toBe('daemon_draining');
    const reader = daemon.follow();
    expect(daemon.newWork).toBe('taken');
    daemon.clock.advance(10 * ORPHAN_LIMIT);
    expect(daemon.ends).toEqual([]);
    reader.destroy();
    daemon.clock.advance(ORPHAN_LIMIT);
    expect([daemon.newWork, daemon.ends]).toEqual(['taken', []]);
    daemon.clock.advance(LOOK + DRAIN - 1);
    expect([daemon.newWork, daemon.ends]).toEqual(['daemon_draining', []]);
    daemon.clock.advance(1);
    expect(daemon.ends).toHaveLength(1);
  });

  test('reopens nothing that was closed for good', () => {
    daemon.clock.advance(ORPHAN_LIMIT);
    daemon.sessions.intake.close();
    daemon.clock.advance(LOOK);
    daemon.follow();
    expect(daemon.newWork).toBe('daemon_draining');
  });
});
