import { describe, expect, test } from '@jest/globals';
import {
  accepts,
  type Event,
  type EventType,
  STATES,
  type State,
  step,
  TABLE,
} from '../../../coordinator/domain/daemon-state.ts';
import type { RestartVerdict } from '../../../coordinator/domain/restart-policy.ts';

const clean: RestartVerdict = { kind: 'clean' };
const retry: RestartVerdict = { kind: 'retry', afterMs: 500 };
const failed: RestartVerdict = { kind: 'failed', untilMs: 60_000 };
const incarnation = 'ws-1';

/** Every event, those with several outcomes once per outcome. */
const EVENTS: Readonly<Record<string, Event>> = {
  demand: { type: 'demand', isCoolOffOver: false },
  'demand after the cool-off': { type: 'demand', isCoolOffOver: true },
  stop: { type: 'stop', reason: 'asked', kind: 'stopped', drainMs: 0, hasServed: false },
  'stop after service': { type: 'stop', reason: 'asked', kind: 'stopped', drainMs: 0, hasServed: true },
  reset: { type: 'reset' },
  backoff_over: { type: 'backoff_over' },
  'spawn_failed, retry': { type: 'spawn_failed', error: new Error('no'), verdict: retry },
  'spawn_failed, failed': { type: 'spawn_failed', error: new Error('no'), verdict: failed },
  adopted: { type: 'adopted', incarnation, isEnding: false },
  'adopted while ending': { type: 'adopted', incarnation, isEnding: true },
  listening: { type: 'listening', incarnation, version: '1' },
  ready: { type: 'ready', incarnation },
  boot_timeout: { type: 'boot_timeout', incarnation, why: 'slow' },
  start_failed: { type: 'start_failed', incarnation, error: new Error('no') },
  idle: { type: 'idle', incarnation, reason: 'idle' },
  busy: { type: 'busy', incarnation },
  drained: { type: 'drained', incarnation },
  beats_lost: { type: 'beats_lost', incarnation, why: 'silent' },
  'exited, clean': { type: 'exited', incarnation, verdict: clean },
  'exited, retry': { type: 'exited', incarnation, verdict: retry },
  'exited, failed': { type: 'exited', incarnation, verdict: failed },
};

/** What follows, written as "next: effects"; a pair that is not listed means nothing. */
const EXPECTED: Readonly<Record<State, Readonly<Record<string, string>>>> = {
  stopped: {
    demand: 'starting: spawn',
    'demand after the cool-off': 'starting: spawn',
    stop: 'stopped: fail_waiters',
    'stop after service': 'stopped: fail_waiters',
    adopted: 'starting: follow_feed',
    'adopted while ending': 'stopping: terminate',
  },
  starting: {
    listening: 'starting: record_ready follow_feed',
    ready: 'ready: publish_route wake_waiters',
    boot_timeout: 'stopping: fail_waiters terminate',
    start_failed: 'stopping: fail_waiters terminate',
    beats_lost: 'stopping: fail_waiters terminate',
    stop: 'stopping: fail_waiters terminate',
    'stop after service': 'draining: fail_waiters begin_drain',
    'spawn_failed, retry': 'backoff: fail_waiters arm_backoff',
    'spawn_failed, failed': 'failed: fail_waiters',
    'exited, clean': 'stopped: fail_waiters serve_parked',
    'exited, retry': 'backoff: fail_waiters arm_backoff',
    'exited, failed': 'failed: fail_waiters',
  },
  ready: {
    idle: 'draining: withdraw_route begin_drain',
    stop: 'draining: withdraw_route begin_drain',
    'stop after service': 'draining: withdraw_route begin_drain',
    beats_lost: 'stopping: withdraw_route terminate',
    'exited, clean': 'stopped: withdraw_route serve_parked',
    'exited, retry': 'backoff: withdraw_route arm_backoff',
    'exited, failed': 'failed: withdraw_route fail_waiters',
  },
  draining: {
    drained: 'stopping: terminate',
    beats_lost: 'stopping: terminate',
    busy: 'ready: publish_route wake_waiters',
    stop: 'draining: fail_waiters begin_drain',
    'stop after service': 'draining: fail_waiters begin_drain',
    'exited, clean': 'stopped: serve_parked',
    'exited, retry': 'stopped: serve_parked',
    'exited, failed': 'stopped: serve_parked',
  },
  stopping: {
    stop: 'stopping: fail_waiters',
    'stop after service': 'stopping: fail_waiters',
    'exited, clean': 'stopped: serve_parked',
    'exited, retry': 'backoff: arm_backoff',
    'exited, failed': 'failed: fail_waiters',
  },
  backoff: {
    backoff_over: 'stopped: serve_parked',
    reset: 'stopped: serve_parked',
    stop: 'stopped: fail_waiters',
    'stop after service': 'stopped: fail_waiters',
  },
  failed: {
    'demand after the cool-off': 'starting: spawn',
    reset: 'stopped: ',
    stop: 'stopped: ',
    'stop after service': 'stopped: ',
  },
};

const PAIRS = STATES.flatMap((state) => Object.keys(EVENTS).map((name) => [state, name] as const));

describe('the table', () => {
  test.each(PAIRS)('%s, then %s', (state, name) => {
    const row = step(state, EVENTS[name] as Event);
    const written = row === undefined ? 'nothing' : `${row.next}: ${row.effects.join(' ')}`;
    expect(written).toBe(EXPECTED[state][name] ?? 'nothing');
  });

  test('has no cell that no expectation covers', () => {
    const types = new Set<EventType>(Object.values(EVENTS).map(({ type }) => type));
    for (const state of STATES) for (const type of Object.keys(TABLE[state])) expect(types).toContain(type);
  });
});

describe('the incarnation of an event', () => {
  test('lets the current one pass', () => {
    expect(accepts('ws-1', { type: 'ready', incarnation: 'ws-1' })).toBe(true);
  });

  test('drops an older one, and every one while there is none', () => {
    expect(accepts('ws-2', { type: 'ready', incarnation: 'ws-1' })).toBe(false);
    expect(accepts(undefined, { type: 'exited', incarnation: 'ws-1', verdict: clean })).toBe(false);
  });

  test('does not matter to events of the workspace', () => {
    for (const name of ['demand', 'stop', 'reset', 'backoff_over'])
      expect(accepts(undefined, EVENTS[name] as Event)).toBe(true);
  });
});
