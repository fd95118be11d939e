// The real qwen agent behind our daemon, with a scripted model. Skipped unless QWEN_REAL_AGENT names its package directory.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '../support/eventually.ts';
import { endFleets } from '../support/fleet-process.ts';
import { REAL_AGENT, REAL_MODELS, type RealWorld, startRealWorld } from '../support/real-agent.ts';
import { openStream, type SseStream } from '../support/sse-stream.ts';
import { call, clientHeader, newSession, sendPrompt } from '../support/wire-client.ts';

const suite = REAL_AGENT === undefined ? describe.skip : describe;
const name =
  REAL_AGENT === undefined
    ? 'the real agent (skipped: QWEN_REAL_AGENT does not name its package directory)'
    : 'the real agent';

interface Question {
  readonly requestId: string;
  readonly options: readonly { readonly optionId: string; readonly kind: string }[];
}

/** One session with its stream, as a client has it. */
class Conversation {
  readonly base: string;
  readonly id: string;
  readonly clientId: string;
  readonly stream: SseStream;

  constructor(base: string, id: string, clientId: string, stream: SseStream) {
    this.base = base;
    this.id = id;
    this.clientId = clientId;
    this.stream = stream;
  }

  static async start(base: string): Promise<Conversation> {
    const { sessionId, clientId } = await newSession(base);
    return new Conversation(base, sessionId, clientId, await openStream(base, sessionId));
  }

  async get(what: string): Promise<Record<string, unknown>> {
    const { status, json, text } = await call(this.base, 'GET', `/session/${this.id}/${what}`);
    if (status !== 200) throw new Error(`GET ${what}: ${status} ${text}`);
    return json;
  }

  async post(action: string, json: unknown): Promise<Record<string, unknown>> {
    const path = `/session/${this.id}/${action}`;
    // A closed session knows no client any more.
    const headers = action === 'load' ? {} : clientHeader(this.clientId);
    const answer = await call(this.base, 'POST', path, { json, headers });
    if (answer.status >= 300) throw new Error(`POST ${action}: ${answer.status} ${answer.text}`);
    return answer.json;
  }

  async prompt(text: string): Promise<string> {
    return (await sendPrompt(this.base, this.id, text, this.clientId)).promptId;
  }

  /** Runs a whole turn. @returns data of its end. */
  async turn(text: string): Promise<Record<string, unknown>> {
    const end = await this.stream.settled(await this.prompt(text));
    return end.data as Record<string, unknown>;
  }

  /** Answers the newest question with the option of that kind. */
  async answer(kind: string, question: Question): Promise<void> {
    const option = question.options.find((candidate) => candidate.kind === kind);
    if (option === undefined) throw new Error(`no option of kind ${kind}`);
    const outcome = { outcome: 'selected', optionId: option.optionId };
    await this.post(`permission/${question.requestId}`, { outcome });
  }

  async question(since: number): Promise<Question> {
    const event = await eventually('a question', () => this.stream.ofType('permission_request')[since]);
    return event.data as Question;
  }

  textOf(kind: string): string {
    return this.updates(kind)
      .map(({ content }) => (content as { text?: string }).text ?? '')
      .join('');
  }

  updates(kind: string): Record<string, unknown>[] {
    return this.stream
      .ofType('session_update')
      .map(({ data }) => (data as { update: Record<string, unknown> }).update)
      .filter(({ sessionUpdate }) => sessionUpdate === kind);
  }

  dataOf(type: string): unknown[] {
    return this.stream.ofType(type).map(({ data }) => data);
  }
}

suite(name, () => {
  let world: RealWorld;
  let base: string;

  beforeAll(async () => {
    world = await startRealWorld();
    base = world.server.baseUrl;
  });

  afterAll(async () => {
    await endFleets();
    await world.model.close();
  });

  test('streams thoughts, then text, and ends the turn', async () => {
    const talk = await Conversation.start(base);
    const end = await talk.turn('[[think:let me see]][[say:hello there]]');
    expect(end).toMatchObject({ stopReason: 'end_turn', branchPoint: expect.any(Object) });
    expect(talk.textOf('agent_thought_chunk')).toBe('let me see');
    expect(talk.textOf('agent_message_chunk')).toBe('hello there');
  });

  test('writes a file when the permission is given, and tells the model so', async () => {
    const talk = await Conversation.start(base);
    const path = join(world.server.workspace, 'allowed.txt');
    const call_ = JSON.stringify({ file_path: path, content: 'written' });
    const promptId = await talk.prompt(`[[call:write_file:${call_}]]`);
    const question = await talk.question(0);
    expect(existsSync(path)).toBe(false);
    await talk.answer('allow_once', question);
    await talk.stream.settled(promptId);
    expect(readFileSync(path, 'utf8')).toBe('written');
    expect(talk.textOf('agent_message_chunk')).toContain('tool said: Successfully created');
    expect(talk.updates('tool_call_update').at(-1)).toMatchObject({ status: 'completed' });
  });

  test('writes nothing when the permission is refused', async () => {
    const talk = await Conversation.start(base);
    const path = join(world.server.workspace, 'refused.txt');
    const call_ = JSON.stringify({ file_path: path, content: 'written' });
    const promptId = await talk.prompt(`[[call:write_file:${call_}]]`);
    await talk.answer('reject_once', await talk.question(0));
    await talk.stream.settled(promptId);
    expect(existsSync(path)).toBe(false);
    expect(talk.updates('tool_call_update').at(-1)).toMatchObject({ status: 'failed' });
  });

  test('an allowed kind of edit changes the mode, told once to new and to older clients', async () => {
    const talk = await Conversation.start(base);
    const path = join(world.server.workspace, 'always.txt');
    const promptId = await talk.prompt(
      `[[call:write_file:${JSON.stringify({ file_path: path, content: 'written' })}]]`,
    );
    await talk.answer('allow_always', await talk.question(0));
    await talk.stream.settled(promptId);
    expect(talk.dataOf('approval_mode_changed')).toMatchObject([{ previous: 'default', next: 'auto-edit' }]);
    expect(talk.updates('current_mode_update')).toHaveLength(1);
    expect(await talk.get('context')).toMatchObject({ state: { modes: { currentModeId: 'auto-edit' } } });
  });

  test('ends a turn that is cancelled', async () => {
    const talk = await Conversation.start(base);
    const promptId = await talk.prompt('[[hang]]');
    await eventually('the first chunk', () => talk.textOf('agent_message_chunk') === 'hanging');
    await talk.post('cancel', {});
    const { data } = await talk.stream.settled(promptId);
    expect(data).toMatchObject({ stopReason: 'cancelled' });
    expect(await talk.turn('[[say:alive]]')).toMatchObject({ stopReason: 'end_turn' });
  });

  test('switches the model by the route, told once, and asks the new one from then on', async () => {
    const talk = await Conversation.start(base);
    await talk.post('model', { modelId: 'other' });
    await talk.turn('[[say:by the other]]');
    expect(talk.dataOf('model_switched')).toEqual([{ sessionId: talk.id, modelId: 'other' }]);
    expect(world.model.requests.at(-1)?.model).toBe('other');
    expect(await talk.get('context')).toMatchObject({
      state: { models: { currentModelId: REAL_MODELS.second } },
    });
    await talk.post('model', { modelId: REAL_MODELS.first });
    await talk.turn('[[say:by the first]]');
    expect(talk.dataOf('model_switched')).toHaveLength(2);
  });

  test('refuses an unknown model, told as failed, and stays where it is', async () => {
    const talk = await Conversation.start(base);
    await expect(talk.post('model', { modelId: 'nope' })).rejects.toThrow('-32603');
    await talk.turn('[[say:still here]]');
    expect(talk.dataOf('model_switch_failed')).toMatchObject([{ requestedModelId: 'nope' }]);
    expect(talk.dataOf('model_switched')).toEqual([]);
  });

  test('a model switch inside the conversation is found out', async () => {
    const talk = await Conversation.start(base);
    await talk.turn('/model other');
    await talk.stream.event('model_switched');
    expect(talk.dataOf('model_switched')).toEqual([{ sessionId: talk.id, modelId: REAL_MODELS.second }]);
    await talk.turn('/model fake');
    await eventually('the way back', () => talk.dataOf('model_switched').length === 2);
  });

  test('switches the mode by the route, plans with what they are carried out in', async () => {
    const talk = await Conversation.start(base);
    expect(await talk.post('approval-mode', { mode: 'plan' })).toEqual({
      sessionId: talk.id,
      mode: 'plan',
      previous: 'default',
      persisted: false,
      planExecutionMode: 'default',
    });
    expect(await talk.post('approval-mode', { mode: 'auto-edit' })).toMatchObject({ previous: 'plan' });
    await talk.turn('[[say:after]]');
    expect(talk.dataOf('approval_mode_changed')).toMatchObject([{ next: 'plan' }, { next: 'auto-edit' }]);
    expect(talk.updates('current_mode_update')).toMatchObject([
      { currentModeId: 'plan' },
      { currentModeId: 'auto-edit' },
    ]);
  });

  test('a persisted mode reaches another session, its stream and the settings of the workspace', async () => {
    const other = await Conversation.start(base);
    const talk = await Conversation.start(base);
    const changed = await talk.post('approval-mode', { mode: 'auto-edit', persist: true });
    expect(changed).toMatchObject({ persisted: true });
    await other.stream.event('approval_mode_changed');
    expect(await other.get('context')).toMatchObject({ state: { modes: { currentModeId: 'auto-edit' } } });
    const settings = readFileSync(join(world.server.workspace, '.qwen', 'settings.json'), 'utf8');
    expect(JSON.parse(settings)).toMatchObject({ tools: { approvalMode: 'auto-edit' } });
    await talk.post('approval-mode', { mode: 'default', persist: true });
  });

  test('answers every status read with its own body', async () => {
    const talk = await Conversation.start(base);
    await talk.turn('[[say:something]]');
    const fields: Readonly<Record<string, string>> = {
      context: 'state',
      'supported-commands': 'availableCommands',
      'context-usage': 'usage',
      stats: 'models',
      tasks: 'tasks',
      agents: 'tasks',
      lsp: 'servers',
      hooks: 'hooks',
      resources: 'skills',
      'rewind/snapshots': 'snapshots',
    };
    for (const [what, field] of Object.entries(fields)) {
      const body = await talk.get(what);
      expect(body).toHaveProperty(field);
      expect(body).not.toHaveProperty('errors');
    }
  });

  test('answers side questions, recaps, and takes options and the language', async () => {
    const talk = await Conversation.start(base);
    await talk.turn('[[say:something]]');
    expect(await talk.post('btw', { question: '[[say:because]]' })).toEqual({
      sessionId: talk.id,
      answer: expect.any(String),
    });
    expect(await talk.post('recap', {})).toHaveProperty('recap');
    const language = { language: 'en', outputLanguage: null, refreshed: false };
    expect(await talk.post('language', { language: 'en' })).toEqual(language);
    await talk.stream.event('language_changed');
    const option = await talk.post('config-option', { configId: 'reasoning_effort', value: 'high' });
    expect(option).toEqual({ configOptions: expect.any(Array), persisted: false });
    expect(await talk.post('continue', {})).toMatchObject({ accepted: false });
  });

  test('rewinds to an earlier prompt', async () => {
    const talk = await Conversation.start(base);
    for (const text of ['one', 'two']) await talk.turn(`[[say:${text}]]`);
    const { snapshots } = (await talk.get('rewind/snapshots')) as {
      snapshots: { promptId: string; turnIndex: number }[];
    };
    const target = snapshots.at(-1);
    const done = await talk.post('rewind', { promptId: target?.promptId });
    expect(done).toMatchObject({ rewound: true, targetTurnIndex: target?.turnIndex });
    expect((await talk.stream.event('session_rewound')).data).toMatchObject({ promptId: target?.promptId });
  });

  test('goes on with a turn that was interrupted', async () => {
    const talk = await Conversation.start(base);
    const path = join(world.server.workspace, 'interrupted.txt');
    const call_ = JSON.stringify({ file_path: path, content: 'written' });
    const promptId = await talk.prompt(`[[call:write_file:${call_}]]`);
    await talk.answer('reject_once', await talk.question(0));
    await talk.stream.settled(promptId);
    const { recovery } = await talk.get('context');
    expect(recovery).toMatchObject({ canContinue: true });
    const decision = await talk.post('continue', {});
    expect(decision).toMatchObject({ accepted: true, promptId: expect.any(String) });
    const { type } = await talk.stream.settled(String(decision.promptId));
    expect(type).toBe('turn_complete');
  });

  test('branches a conversation into a live session of its own', async () => {
    const talk = await Conversation.start(base);
    await talk.turn('[[say:before the fork]]');
    const fork = await talk.post('branch', { name: 'a fork' });
    expect(fork).toMatchObject({
      attached: false,
      displayName: expect.stringContaining('a fork'),
      forkedFrom: { sessionId: talk.id },
    });
    expect(fork.sessionId).not.toBe(talk.id);
    expect(JSON.stringify(fork.compactedReplay)).toContain('before the fork');
    const branch = await reopened(base, fork);
    expect(await branch.turn('[[say:after the fork]]')).toMatchObject({ stopReason: 'end_turn' });
    expect(branch.textOf('agent_message_chunk')).toBe('after the fork');
  });

  test('is loaded after a close: the past is shown, and the conversation goes on', async () => {
    const talk = await Conversation.start(base);
    await talk.turn('[[think:hm]][[say:remember this]]');
    await call(base, 'DELETE', `/session/${talk.id}`);
    const loaded = await talk.post('load', {});
    expect(loaded).toMatchObject({ sessionId: talk.id, attached: false });
    expect(JSON.stringify(loaded.compactedReplay)).toContain('remember this');
    const again = await reopened(base, loaded);
    await again.turn('[[say:and on]]');
    expect(again.textOf('agent_message_chunk')).toBe('and on');
    const asked = JSON.stringify(world.model.requests.at(-1)?.messages);
    expect(asked).toContain('remember this');
  });

  test('is listed by its title after a close, found, archived, brought back and deleted for good', async () => {
    const talk = await Conversation.start(base);
    await talk.turn('[[say:a singular answer]]');
    const at = `/workspaces/${encodeURIComponent(world.server.workspace)}/sessions`;
    const listed = async (query: string) => {
      const { json } = await call(base, 'GET', `${at}?size=100${query}`);
      return (json.sessions as { sessionId: string; displayName?: string }[]).find(
        ({ sessionId }) => sessionId === talk.id,
      );
    };
    const together = async (action: string) =>
      (await call(base, 'POST', `/sessions/${action}`, { json: { sessionIds: [talk.id] } })).json;
    await call(base, 'DELETE', `/session/${talk.id}`);
    await eventually('the title in the list', async () => (await listed(''))?.displayName !== undefined);
    expect((await listed(''))?.displayName).toContain('[[say:a singular answer]]');
    const { json: found } = await call(base, 'GET', `${at}/search?q=singular%20answer`);
    expect(JSON.stringify(found)).toContain(talk.id);
    expect(await together('archive')).toMatchObject({ archived: [talk.id] });
    expect([await listed(''), (await listed('&archiveState=archived'))?.sessionId]).toEqual([
      undefined,
      talk.id,
    ]);
    expect(await together('unarchive')).toMatchObject({ unarchived: [talk.id] });
    expect(await together('delete')).toEqual({ removed: [talk.id], notFound: [], errors: [] });
    expect(await listed('')).toBeUndefined();
    expect((await call(base, 'POST', `/session/${talk.id}/load`, { json: {} })).status).toBe(404);
  });

  test('works in a worktree of its own, is read and loaded after a close, and deleted for good', async () => {
    const git = (...args: readonly string[]) =>
      execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@localhost', ...args], {
        cwd: world.server.workspace,
      });
    git('init', '--quiet');
    git('commit', '--quiet', '--allow-empty', '-m', 'one');
    const made = await call(base, 'POST', '/session', { json: { worktree: { slug: 'real' } } });
    expect([made.status, made.text]).toEqual([200, expect.stringContaining('.qwen/worktrees/real')]);
    const talk = await reopened(base, { ...made.json, lastEventId: 0 });
    await talk.turn('[[say:among the branches]]');
    const system = JSON.stringify(world.model.requests.at(-1)?.messages);
    expect(system).toContain('.qwen/worktrees/real');
    await call(base, 'DELETE', `/session/${talk.id}`);
    expect(JSON.stringify(await talk.get('transcript'))).toContain('among the branches');
    const loaded = await talk.post('load', {});
    expect(loaded).toMatchObject({ worktree: made.json.worktree });
    const again = await reopened(base, loaded);
    await again.turn('[[say:and on]]');
    expect(JSON.stringify(world.model.requests.at(-1)?.messages)).toContain('among the branches');
    const gone = await call(base, 'POST', '/sessions/delete', { json: { sessionIds: [talk.id] } });
    expect(gone.json).toEqual({ removed: [talk.id], notFound: [], errors: [] });
    expect((await call(base, 'POST', `/session/${talk.id}/load`, { json: {} })).status).toBe(404);
  });

  test('is loaded after a crash of the agent, with its model', async () => {
    const talk = await Conversation.start(base);
    await talk.turn('[[say:before the crash]]');
    await talk.post('model', { modelId: 'other' });
    const hanging = await talk.prompt('[[hang]]');
    await eventually('the first chunk', () => talk.textOf('agent_message_chunk').endsWith('hanging'));
    for (const { pid } of agents()) process.kill(pid, 'SIGKILL');
    expect((await talk.stream.settled(hanging)).type).toBe('turn_error');
    await talk.stream.event('session_died');
    const loaded = await talk.post('load', {});
    expect(JSON.stringify(loaded.compactedReplay)).toContain('before the crash');
    expect(loaded.state).toMatchObject({ models: { currentModelId: REAL_MODELS.second } });
    const again = await reopened(base, loaded);
    expect(await again.turn('[[say:alive]]')).toMatchObject({ stopReason: 'end_turn' });
    expect(world.model.requests.at(-1)?.model).toBe('other');
    await again.post('model', { modelId: 'fake' });
  });

  /** The agent's processes: whatever runs in this world besides the daemon. */
  function agents() {
    return world.server.scratch.processes().filter(({ pid }) => pid !== world.server.pid);
  }
});

/** A client that came by load or branch, from the cursor that the answer names. */
async function reopened(base: string, answer: Record<string, unknown>): Promise<Conversation> {
  const { sessionId, clientId, lastEventId, eventEpoch } = answer as Record<string, string>;
  const headers = { 'last-event-id': String(lastEventId), 'x-qwen-event-epoch': String(eventEpoch) };
  const stream = await openStream(base, String(sessionId), { headers });
  return new Conversation(base, String(sessionId), String(clientId), stream);
}
