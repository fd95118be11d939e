import { describe, expect, test } from '@jest/globals';
import { nextState, type SessionEvent, type SessionState } from '../../../coordinator/domain/session.ts';

const STATES: readonly SessionState[] = ['live', 'restoring', 'dormant', 'closed'];
const ended = (reason: string, canLoad = true): SessionEvent => ({ type: 'ended', reason, canLoad });
const daemon = (
  kind: 'died' | 'idle' | 'replaced' | 'stopped' | 'removed',
  canLoad = true,
): SessionEvent => ({
  type: 'daemon_ended',
  kind,
  canLoad,
});

/** What each event makes of live, restoring, dormant and closed; `-` changes nothing. */
const CELLS: readonly (readonly [string, SessionEvent, string])[] = [
  ['a daemon has it', { type: 'opened' }, '- live live live'],
  ['a client closed it', ended('client_close'), 'closed - - -'],
  ['the last client left', ended('last_client_detached'), 'dormant - - -'],
  ['nobody used it', ended('idle_timeout'), 'dormant - - -'],
  ['the last client left an agent that cannot load', ended('last_client_detached', false), 'closed - - -'],
  ['its agent crashed', ended('channel_closed'), 'closed - - -'],
  ['its daemon is about to end', ended('daemon_shutdown'), '- - - -'],
  ['its daemon died', daemon('died'), 'restoring - - -'],
  ['its daemon is replaced', daemon('replaced'), 'restoring - - -'],
  ['its daemon was idle', daemon('idle'), 'dormant - - -'],
  ['its daemon was stopped', daemon('stopped'), 'dormant - - -'],
  ['its workspace was removed', daemon('removed'), 'closed - - -'],
  ['its daemon died and the agent cannot load', daemon('died', false), 'closed - - -'],
  ['its daemon was idle and the agent cannot load', daemon('idle', false), 'closed - - -'],
  ['a restore failed for now', { type: 'restore_failed', isFinal: false }, '- dormant - -'],
  ['a restore failed for good', { type: 'restore_failed', isFinal: true }, '- closed closed -'],
  ['a client closed it at rest', { type: 'closed_at_rest' }, '- closed closed -'],
];

describe('the life of a session', () => {
  for (const [what, event, row] of CELLS)
    test.each(STATES.map((state, at) => [state, row.split(' ')[at]] as const))(
      `${what}: %s -> %s`,
      (state, expected) => {
        expect(nextState(state, event)).toBe(expected === '-' ? undefined : expected);
      },
    );
});
