// Models and modes, rule by rule: what is told, to whom, how often, and what each decision leaves in the log.
import { describe, expect, test } from '@jest/globals';
import { AgentCallError, METHOD_NOT_FOUND } from '../../../daemon/agent/agent.ts';
import { isSameModel } from '../../../daemon/domain/setting-values.ts';
import { pass, settled } from '../../support/manual-clock.ts';
import { CONTEXT, contextOf, SET_MODE, SettingsParts } from '../../support/session-settings-parts.ts';

const SET_MODEL = 'session/set_model';

/** Settles the change that waits, then the read that follows with what the agent is said to have. */
async function finish(parts: SettingsParts, method: string, answer: unknown, model: string, mode: string) {
  await settled();
  parts.channel.next(method).answer(answer);
  await settled();
  parts.channel.next(CONTEXT).answer(contextOf(model, mode));
  await settled();
}

async function timeOut(parts: SettingsParts, change: Promise<unknown>): Promise<void> {
  const refused = expect(change).rejects.toThrow('did not answer');
  await settled();
  await pass(parts.clock, 1000);
  await refused;
}

describe('a switch by a client', () => {
  test('is told with its client, and once where the read agrees', async () => {
    const parts = new SettingsParts();
    const answer = parts.settings.switchModel('m2', 'c-1');
    await finish(parts, SET_MODEL, { _meta: { a: 1 } }, 'm2', 'default');
    expect(await answer).toEqual({ _meta: { a: 1 } });
    expect(parts.story).toEqual(['model_switched:m2:c-1']);
    expect(parts.decisions).toEqual(['model converged read_agrees']);
    expect(parts.settings.snapshot()).toEqual({ currentModelId: 'm2', currentApprovalMode: 'default' });
  });

  test('is corrected without a client where the read differs', async () => {
    const parts = new SettingsParts();
    void parts.settings.switchModel('m2', 'c-1');
    await finish(parts, SET_MODEL, {}, 'm9', 'default');
    expect(parts.story).toEqual(['model_switched:m2:c-1', 'model_switched:m9']);
    expect(parts.decisions).toEqual(['model corrected read_differs']);
  });

  test('waits for the one before it, and models never wait for modes', async () => {
    const parts = new SettingsParts();
    void parts.settings.switchModel('m2', undefined);
    void parts.settings.switchModel('m3', undefined);
    void parts.settings.switchMode({ mode: 'plan', isPersisted: false }, undefined);
    await settled();
    expect(parts.channel.calls.map(({ method }) => method)).toEqual([SET_MODEL, SET_MODE]);
    parts.channel.next(SET_MODEL).answer({});
    await settled();
    expect(parts.channel.next(SET_MODEL).params.modelId).toBe('m3');
  });

  test('that is refused is told as failed, and needs no read', async () => {
    const parts = new SettingsParts();
    const refused = expect(parts.settings.switchModel('m2', 'c-1')).rejects.toThrow('no such model');
    await settled();
    parts.channel.next(SET_MODEL).fail(new AgentCallError(-32602, 'no such model'));
    await refused;
    expect(parts.story).toEqual(['model_switch_failed:m2:c-1']);
    expect(parts.decisions).toEqual(['model skipped change_refused']);
    expect(parts.channel.open(CONTEXT)).toEqual([]);
  });

  test.each([
    ['Internal error', { details: 'no such model' }, 'Internal error: no such model'],
    ['', undefined, 'The agent gave no reason'],
  ])('that is refused says why: message "%s" with data %j', async (message, data, error) => {
    const parts = new SettingsParts();
    const refused = expect(parts.settings.switchModel('m2', 'c-1')).rejects.toThrow(message);
    await settled();
    parts.channel.next(SET_MODEL).fail(new AgentCallError(-32602, message, data));
    await refused;
    expect(parts.events.at(-1)?.data).toEqual({ sessionId: 's-1', requestedModelId: 'm2', error });
  });

  test.each([
    ['an internal error', () => new AgentCallError(-32603, 'Internal error')],
    ['a transport error', () => new Error('broken pipe')],
  ])('that ends in %s is read back: failed first, then at most one correction', async (_name, error) => {
    const parts = new SettingsParts();
    const failed = expect(parts.settings.switchModel('m2', 'c-1')).rejects.toThrow();
    await settled();
    parts.channel.next(SET_MODEL).fail(error());
    await failed;
    parts.channel.next(CONTEXT).answer(contextOf('m2', 'default'));
    await settled();
    expect(parts.story).toEqual(['model_switch_failed:m2:c-1', 'model_switched:m2']);
  });

  test('of a session that has ended is refused, and asked of nobody', async () => {
    const parts = new SettingsParts();
    parts.bus.end();
    await expect(parts.settings.switchModel('m2', undefined)).rejects.toMatchObject({
      code: 'session_not_found',
    });
    expect(parts.channel.calls).toEqual([]);
  });
});

describe('a switch that times out', () => {
  test('frees the setting, is told as failed and read back', async () => {
    const parts = new SettingsParts();
    await timeOut(parts, parts.settings.switchModel('m2', 'c-1'));
    parts.channel.next(CONTEXT).answer(contextOf('m1', 'default'));
    await settled();
    expect(parts.story).toEqual(['model_switch_failed:m2:c-1']);
    expect(parts.decisions).toEqual(['model converged read_agrees']);
    void parts.settings.switchModel('m3', undefined);
    await settled();
    expect(parts.channel.open(SET_MODEL).map(({ params }) => params.modelId)).toEqual(['m2', 'm3']);
  });

  test('and lands after the read is promoted with a warning, once', async () => {
    const parts = new SettingsParts();
    await timeOut(parts, parts.settings.switchModel('m2', 'c-1'));
    parts.channel.next(CONTEXT).answer(contextOf('m1', 'default'));
    await settled();
    parts.notifyModel('m2');
    parts.notifyModel('m3');
    expect(parts.story).toEqual([
      'model_switch_failed:m2:c-1',
      'model_switched:m2:c-turn',
      'model_switched:m3:c-turn',
    ]);
    expect(parts.warnings).toEqual([expect.stringContaining('possible late switch')]);
  });

  test('long after the read is no suspect any more', async () => {
    const parts = new SettingsParts();
    await timeOut(parts, parts.settings.switchModel('m2', 'c-1'));
    parts.channel.next(CONTEXT).answer(contextOf('m1', 'default'));
    await settled();
    await pass(parts.clock, 31_000);
    parts.notifyModel('m2');
    expect(parts.warnings).toEqual([]);
  });

  test('and is answered late without a notification is read again', async () => {
    const parts = new SettingsParts();
    await timeOut(parts, parts.settings.switchModel('m2', 'c-1'));
    parts.channel.next(CONTEXT).answer(contextOf('m1', 'default'));
    await settled();
    parts.channel.next(SET_MODEL).answer({});
    await settled();
    parts.channel.next(CONTEXT).answer(contextOf('m2', 'default'));
    await settled();
    expect(parts.story).toEqual(['model_switch_failed:m2:c-1', 'model_switched:m2']);
  });
});

describe('a read', () => {
  test('that says something older than what was told meanwhile runs again once, no more', async () => {
    const parts = new SettingsParts();
    void parts.settings.switchModel('m2', 'c-1');
    await settled();
    parts.channel.next(SET_MODEL).answer({});
    for (const model of ['m5', 'm6']) {
      await settled();
      parts.notifyModel(model);
      parts.channel.next(CONTEXT).answer(contextOf('m2', 'default'));
    }
    await settled();
    expect(parts.channel.open(CONTEXT)).toEqual([]);
    expect(parts.story.slice(1)).toEqual(['model_switched:m5:c-turn', 'model_switched:m6:c-turn']);
    expect(parts.decisions.filter((line) => line.includes('generation_changed'))).toHaveLength(2);
  });

  test('that fails or hangs is tried again once, then given up, and nothing is told', async () => {
    const parts = new SettingsParts();
    void parts.settings.switchModel('m2', 'c-1');
    await settled();
    parts.channel.next(SET_MODEL).answer({});
    await settled();
    parts.channel.next(CONTEXT).fail(new AgentCallError(-32000, 'not now'));
    await settled();
    await pass(parts.clock, 300);
    expect(parts.channel.calls.filter(({ method }) => method === CONTEXT)).toHaveLength(2);
    expect(parts.decisions).toEqual([
      'model skipped read_failed_once: not now',
      `model failed agent did not answer ${CONTEXT} within 300 ms`,
    ]);
    expect(parts.story).toEqual(['model_switched:m2:c-1']);
    // The next change has a read of its own.
    void parts.settings.switchModel('m3', undefined);
    await finish(parts, SET_MODEL, {}, 'm3', 'default');
    expect(parts.decisions.at(-1)).toBe('model converged read_agrees');
  });

  test('is not tried again when the session is gone', async () => {
    const parts = new SettingsParts();
    void parts.settings.switchModel('m2', 'c-1');
    await settled();
    parts.channel.next(SET_MODEL).answer({});
    await settled();
    parts.bus.end();
    parts.channel.next(CONTEXT).fail(new AgentCallError(-32000, 'unknown session'));
    await settled();
    expect(parts.decisions).toEqual(['model skipped session_gone']);
  });

  test('that finds the next change under way leaves the answer to it, even if that is refused', async () => {
    const parts = new SettingsParts();
    void parts.settings.switchModel('m2', 'c-1');
    const second = parts.settings.switchModel('m3', 'c-1');
    second.catch(() => undefined);
    await settled();
    parts.channel.next(SET_MODEL).answer({});
    await settled();
    parts.channel.next(CONTEXT).answer(contextOf('m9', 'default'));
    await settled();
    parts.channel.next(SET_MODEL).fail(new AgentCallError(-32602, 'no'));
    await settled();
    parts.channel.next(CONTEXT).answer(contextOf('m9', 'default'));
    await settled();
    expect(parts.story).toEqual(['model_switched:m2:c-1', 'model_switch_failed:m3:c-1', 'model_switched:m9']);
  });

  test('is asked of no agent that has no such call, from the first answer on', async () => {
    const parts = new SettingsParts();
    parts.channel.answers.set(CONTEXT, () => {
      throw new AgentCallError(METHOD_NOT_FOUND, 'Method not found');
    });
    for (const model of ['m2', 'm3']) {
      void parts.settings.switchModel(model, undefined);
      await settled();
      parts.channel.next(SET_MODEL).answer({});
      await settled();
    }
    expect(parts.channel.calls.filter(({ method }) => method === CONTEXT)).toHaveLength(1);
    expect(parts.story).toEqual(['model_switched:m2', 'model_switched:m3']);
  });
});

describe('a notification', () => {
  test('is told on behalf of the running turn', () => {
    const parts = new SettingsParts();
    parts.notifyModel('m2');
    expect(parts.events).toMatchObject([
      { type: 'model_switched', promptId: 'p-1', originatorClientId: 'c-turn', data: { modelId: 'm2' } },
    ]);
    expect(parts.decisions).toEqual(['model promoted changed_by_agent']);
  });

  test('of one setting is suppressed while that setting changes, of the other not', async () => {
    const parts = new SettingsParts();
    void parts.settings.switchModel('m2', 'c-1');
    await settled();
    parts.notifyModel('m2');
    parts.notifyMode('plan', { legacyFrameSent: true });
    expect(parts.story).toEqual(['approval_mode_changed:plan:c-turn']);
    expect(parts.decisions).toEqual([
      'model suppressed bridge_change_in_flight',
      'mode promoted changed_by_agent',
    ]);
  });

  test.each([[7], [null], [''], [{}], [undefined]])('of the model %j is dropped', (model) => {
    const parts = new SettingsParts();
    parts.notifyModel(model);
    expect(parts.events).toEqual([]);
    expect(parts.decisions).toEqual([expect.stringMatching(/^model dropped (?:model_not_text|no_value)$/)]);
  });

  test.each([['architect'], [7], ['PLAN'], [null]])('of the mode %j is dropped', (mode) => {
    const parts = new SettingsParts();
    parts.notifyMode(mode);
    expect(parts.events).toEqual([]);
    expect(parts.settings.snapshot().currentApprovalMode).toBe('default');
  });

  test('of another spelling of the same model is not told', () => {
    const parts = new SettingsParts({ seed: { models: { currentModelId: 'fake(openai)' } } });
    parts.notifyModel('fake');
    parts.notifyModel('fake(openai)');
    parts.notifyModel('fake(anthropic)');
    expect(parts.story).toEqual(['model_switched:fake(anthropic):c-turn']);
  });
});

test.each([
  ['fake', 'fake(openai)', true],
  ['fake(openai)', 'fake(openai)', true],
  ['fake(openai)', 'fake(anthropic)', false],
  ['$runtime|openai|fake(openai)', 'fake(openai)', false],
  ['llama (8b)', 'llama ', false],
])('%j and %j name one model: %s', (a, b, isSame) => {
  expect([isSameModel(a, b), isSameModel(b, a)]).toEqual([isSame, isSame]);
});

describe('a change of the mode', () => {
  const ask = (parts: SettingsParts, mode: 'plan' | 'yolo' | 'auto', isPersisted = false) =>
    parts.settings.switchMode({ mode, isPersisted }, 'c-1');

  test('is answered with what the agent says, and told to older clients once', async () => {
    const parts = new SettingsParts();
    const answer = ask(parts, 'plan');
    const said = { previous: 'auto', current: 'plan', planExecutionMode: 'yolo' };
    await finish(parts, SET_MODE, said, 'm1', 'plan');
    expect(await answer).toEqual({
      sessionId: 's-1',
      mode: 'plan',
      previous: 'auto',
      persisted: false,
      planExecutionMode: 'yolo',
    });
    expect(parts.story).toEqual(['frame:plan:c-1', 'approval_mode_changed:plan:c-1']);
    expect(parts.settings.snapshot()).toMatchObject({
      currentApprovalMode: 'plan',
      planExecutionMode: 'yolo',
    });
  });

  test.each([
    [{ previous: 'default', current: 'architect' }],
    [{ previous: 'default' }],
    [{ current: 'plan', planExecutionMode: 'plan' }],
    [{ current: 'plan', planExecutionMode: 'architect' }],
    [null],
  ])('whose answer is %j is an error, told to nobody, and read back', async (said) => {
    const parts = new SettingsParts();
    const failed = expect(ask(parts, 'plan')).rejects.toThrow('unknown approval mode');
    await finish(parts, SET_MODE, said, 'm1', 'architect');
    await failed;
    expect(parts.events).toEqual([]);
    expect(parts.decisions).toEqual(['mode dropped unknown_mode']);
  });

  test('falls back to the standard call, whose own frame is not doubled', async () => {
    const parts = new SettingsParts({ hasContext: false });
    parts.channel.answers.set(SET_MODE, () => {
      throw new AgentCallError(METHOD_NOT_FOUND, 'Method not found');
    });
    const answer = ask(parts, 'yolo');
    await settled();
    const call = parts.channel.next('session/set_mode');
    expect(call.params).toEqual({ sessionId: 's-1', modeId: 'yolo' });
    parts.frame('yolo');
    call.answer({});
    expect(await answer).toMatchObject({ mode: 'yolo', previous: 'default' });
    expect(parts.story).toEqual(['frame:yolo', 'approval_mode_changed:yolo:c-1']);
  });

  test('whose frame comes from the agent after the answer is not told to older clients twice', async () => {
    const parts = new SettingsParts({ hasContext: false });
    void ask(parts, 'yolo');
    await settled();
    parts.channel.next(SET_MODE).answer({ previous: 'default', current: 'yolo' });
    await settled();
    parts.frame('yolo');
    expect(parts.story).toEqual(['frame:yolo:c-1', 'approval_mode_changed:yolo:c-1']);
  });

  test('that the agent refuses to plan is 501', async () => {
    const parts = new SettingsParts();
    parts.channel.answers.set(SET_MODE, () => {
      throw new AgentCallError(METHOD_NOT_FOUND, 'Method not found');
    });
    const request = { mode: 'yolo', planMode: true, isPersisted: false } as const;
    await expect(parts.settings.switchMode(request, undefined)).rejects.toMatchObject({
      code: 'not_implemented',
    });
  });

  test('is persisted where the agent keeps settings, and says so', async () => {
    const parts = new SettingsParts();
    parts.channel.answers.set('qwen/settings/setCoreValue', () => ({}));
    const answer = ask(parts, 'auto', true);
    await finish(parts, SET_MODE, { previous: 'default', current: 'auto' }, 'm1', 'auto');
    expect(await answer).toMatchObject({ persisted: true });
    expect(parts.events.at(-1)?.data).toMatchObject({ next: 'auto', persisted: true });
    expect(
      parts.channel.calls.find(({ method }) => method.startsWith('qwen/settings'))?.params,
    ).toMatchObject({
      key: 'tools.approvalMode',
      value: 'auto',
      scope: 'workspace',
    });
  });

  test('is not called persisted where the agent keeps none', async () => {
    const parts = new SettingsParts();
    const answer = ask(parts, 'auto', true);
    await finish(parts, SET_MODE, { previous: 'default', current: 'auto' }, 'm1', 'auto');
    expect(await answer).toMatchObject({ persisted: false });
  });

  test('by a frame of a standard agent is promoted, after the frame', () => {
    const parts = new SettingsParts();
    parts.frame('plan');
    expect(parts.story).toEqual(['frame:plan', 'approval_mode_changed:plan:c-turn']);
  });

  test('by a frame and a notification is told once', () => {
    const parts = new SettingsParts();
    parts.frame('plan');
    parts.notifyMode('plan', { legacyFrameSent: true });
    expect(parts.story).toEqual(['frame:plan', 'approval_mode_changed:plan:c-turn']);
  });

  test('by a notification alone is told to older clients by the bridge', () => {
    const parts = new SettingsParts();
    parts.notifyMode('plan', { planExecutionMode: 'auto' });
    expect(parts.story).toEqual(['frame:plan:c-turn', 'approval_mode_changed:plan:c-turn']);
    expect(parts.events.at(-1)?.data).toMatchObject({ previous: 'default', planExecutionMode: 'auto' });
  });
});

describe('the caches', () => {
  test('are null where the agent told nothing', () => {
    const parts = new SettingsParts({ seed: {} });
    expect(parts.settings.snapshot()).toEqual({ currentModelId: null, currentApprovalMode: null });
    expect(parts.settings.knownState()).toEqual({
      models: { availableModels: [], currentModelId: null },
      modes: { availableModes: [], currentModeId: null },
      configOptions: [],
    });
    expect(parts.settings.availableCommands).toBeUndefined();
  });

  test('keep the commands and options that the agent announced last', () => {
    const parts = new SettingsParts();
    const seen = (update: object) =>
      parts.settings.updateSeen({ sessionId: 's-1', update }, {}, () => undefined);
    seen({ sessionUpdate: 'available_commands_update', availableCommands: [{ name: 'help' }] });
    seen({ sessionUpdate: 'config_option_update', configOptions: [{ id: 'effort' }] });
    expect(parts.settings.availableCommands).toEqual([{ name: 'help' }]);
    expect(parts.settings.knownState().configOptions).toEqual([{ id: 'effort' }]);
  });
});

test('a turn that showed the output of a command is followed by a read of both axes, another is not', async () => {
  const parts = new SettingsParts();
  const chunk = { sessionUpdate: 'agent_message_chunk', _meta: { source: 'slash_command' } };
  parts.settings.turnEnded();
  expect(parts.channel.open(CONTEXT)).toHaveLength(0);
  parts.settings.updateSeen({ sessionId: 's-1', update: chunk }, {}, () => undefined);
  parts.settings.turnEnded();
  for (const call of parts.channel.open(CONTEXT)) call.answer(contextOf('m2', 'plan'));
  await settled();
  expect(parts.story).toEqual(['model_switched:m2', 'frame:plan', 'approval_mode_changed:plan']);
});

test('a decision is logged by axis and action: at info where clients hear of it, at debug where they do not', async () => {
  const parts = new SettingsParts();
  const levels = () => parts.logged.map(({ level, msg }) => [level, msg]);
  parts.notifyModel('m1');
  parts.notifyModel('m2');
  expect(levels()).toEqual([
    [20, 'model skipped'],
    [30, 'model promoted'],
  ]);
});
