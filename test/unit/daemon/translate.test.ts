import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { translate } from '../../../daemon/domain/translate.ts';

const NOTIFY = 'qwen/notify/session';
const ID = { v: 1, sessionId: 's-1' };

describe('a notification becomes its event', () => {
  test.each([
    [
      `${NOTIFY}/title-update`,
      { ...ID, title: 'A title', titleSource: 'auto' },
      'session_metadata_updated',
      { sessionId: 's-1', displayName: 'A title', titleSource: 'auto' },
    ],
    [
      `${NOTIFY}/prompt-suggestion`,
      { ...ID, suggestion: 'go on', promptId: 'p' },
      'followup_suggestion',
      { sessionId: 's-1', suggestion: 'go on', promptId: 'p' },
    ],
    [
      `${NOTIFY}/recording-degraded`,
      { ...ID, reason: 'write_failed' },
      'session_recording_degraded',
      { sessionId: 's-1', reason: 'write_failed' },
    ],
    [
      `${NOTIFY}/mcp-budget-event`,
      { ...ID, kind: 'budget_warning', liveCount: 1, budget: 2, mode: 'warn' },
      'mcp_budget_warning',
      { liveCount: 1, budget: 2, mode: 'warn' },
    ],
    [
      `${NOTIFY}/mcp-budget-event`,
      { ...ID, kind: 'refused_batch', refusedServers: [] },
      'mcp_child_refused_batch',
      { refusedServers: [] },
    ],
    [
      `${NOTIFY}/terminal-sequence`,
      { ...ID, sequence: '\u001b[0m', extra: [1] },
      'terminal_sequence',
      { sequence: '\u001b[0m', extra: [1] },
    ],
    [
      `${NOTIFY}/sources-changed`,
      { ...ID, revision: 3 },
      'source_changed',
      { sessionId: 's-1', revision: 3 },
    ],
    [
      '_qwencode/end_turn',
      { ...ID, reason: 'end_turn', turnId: 't' },
      'background_notification_turn_complete',
      { sessionId: 's-1', reason: 'end_turn', turnId: 't' },
    ],
  ])('%s', (method, params, type, data) => {
    expect(translate(method, params)).toMatchObject([{ type, data }]);
    expect(translate(method, params)?.[0]?.data).toEqual(data);
  });

  test('an artifact each, those that name themselves', () => {
    const artifacts = [
      { artifactId: 'a', action: 'created' },
      { artifactId: '', action: 'created' },
      { artifactId: 'b' },
      { artifactId: 'c', action: '' },
      { artifactId: 'd', action: 'created', reason: '' },
      null,
      'x',
      { action: 'b' },
    ];
    expect(translate(`${NOTIFY}/artifact-event`, { ...ID, artifacts })).toEqual([
      { type: 'artifact_changed', data: { sessionId: 's-1', change: artifacts[0] } },
    ]);
  });

  test('a suggestion is cut to what clients take, absent options are left out', () => {
    const [event] =
      translate(`${NOTIFY}/prompt-suggestion`, { ...ID, suggestion: 'x'.repeat(900), promptId: 'p' }) ?? [];
    expect(event?.data.suggestion).toHaveLength(500);
    expect(translate(`${NOTIFY}/title-update`, { ...ID, title: 't', titleSource: null })?.[0]?.data).toEqual({
      sessionId: 's-1',
      displayName: 't',
    });
  });
});

describe('a notification means nothing', () => {
  test.each([
    ['unknown'],
    [''],
    ['toString'],
    ['__proto__'],
    [`${NOTIFY}/pr-binding`],
    [`${NOTIFY}/model-update`],
  ])('when its method is unknown: %j', (method) => expect(translate(method, ID)).toBeUndefined());

  test.each([
    [`${NOTIFY}/title-update`, { title: '' }],
    [`${NOTIFY}/title-update`, { title: 7 }],
    [`${NOTIFY}/prompt-suggestion`, { suggestion: 'x' }],
    [`${NOTIFY}/prompt-suggestion`, { promptId: 'p' }],
    [`${NOTIFY}/recording-degraded`, {}],
    [`${NOTIFY}/mcp-budget-event`, { kind: 'other' }],
    [`${NOTIFY}/artifact-event`, { artifacts: {} }],
    [`${NOTIFY}/sources-changed`, {}],
    [`${NOTIFY}/model-update`, { currentModelId: null }],
    ['_qwencode/end_turn', {}],
  ])('when a field that clients need is missing: %s %j', (method, params) =>
    expect(translate(method, { ...ID, ...params })).toBeUndefined(),
  );

  test('and nothing that an agent may send breaks it', () => {
    const methods = [
      'title-update',
      'prompt-suggestion',
      'recording-degraded',
      'mcp-budget-event',
      'artifact-event',
      'terminal-sequence',
      'sources-changed',
      'model-update',
    ].map((name) => `${NOTIFY}/${name}`);
    fc.assert(
      fc.property(
        fc.constantFrom(...methods),
        fc.dictionary(fc.string(), fc.jsonValue()),
        (method, params) => {
          for (const event of translate(method, params) ?? []) {
            expect(event.type).not.toBe('');
            expect(JSON.stringify(event.data)).toBeDefined();
          }
        },
      ),
    );
  });
});
