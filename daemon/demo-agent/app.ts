// The ACP methods of the demo agent. The SDK refuses every method that is not registered here with "method not found".
import {
  type AgentApp,
  type AgentContext,
  agent,
  type ContentBlock,
  methods,
  PROTOCOL_VERSION,
  RequestError,
  type SessionUpdate,
} from '@agentclientprotocol/sdk';
import { type DemoSession, MODELS, MODES, newDemoSession, settingsOf } from './session.ts';
import type { DemoTranscripts } from './transcripts.ts';
import { runTurn } from './turn.ts';

export interface DemoOptions {
  /** Pause between the words of an answer to a prompt that contains "slow". */
  readonly delayMs: number;
  readonly transcripts: DemoTranscripts;
}

/** Key in the `_meta` of `session/new` under which a client chooses the new session's id. */
const SESSION_ID_META = 'qwen-code/sessionId';

/** Makes the demo agent's ACP app, which the caller connects to a stream. */
export function demoAgent(options: DemoOptions): AgentApp {
  const conversations = new Conversations(options);
  const { session } = methods.agent;
  return agent({ name: 'qwen-coordinator-demo' })
    .onRequest(methods.agent.initialize, () => ({
      protocolVersion: PROTOCOL_VERSION,
      agentInfo: { name: 'qwen-coordinator-demo', title: 'Demo agent', version: '1' },
      agentCapabilities: {
        loadSession: true,
        sessionCapabilities: { resume: {}, close: {} },
        promptCapabilities: { image: false, audio: false, embeddedContext: true },
      },
      authMethods: [],
    }))
    .onRequest(session.new, ({ params }) => conversations.create(params.cwd, params._meta?.[SESSION_ID_META]))
    .onRequest(session.load, ({ params, client }) => conversations.load(params.sessionId, params.cwd, client))
    .onRequest(session.resume, ({ params }) => conversations.resume(params.sessionId, params.cwd))
    .onRequest(session.close, ({ params }) => conversations.close(params.sessionId))
    .onRequest(session.prompt, ({ params, client }) =>
      conversations.prompt(params.sessionId, params.prompt, client),
    )
    .onNotification(session.cancel, ({ params }) => conversations.cancel(params.sessionId))
    .onRequest(session.setMode, ({ params, client }) =>
      conversations.setMode(params.sessionId, params.modeId, client),
    )
    .onRequest('session/set_model', parseSetModel, ({ params }) =>
      conversations.setModel(params.sessionId, params.modelId),
    );
}

class Conversations {
  readonly #options: DemoOptions;
  readonly #sessions = new Map<string, DemoSession>();

  constructor(options: DemoOptions) {
    this.#options = options;
  }

  create(cwd: string, wantedId: unknown) {
    const id = typeof wantedId === 'string' && wantedId !== '' ? wantedId : crypto.randomUUID();
    if (this.#sessions.has(id)) throw RequestError.invalidParams({ sessionId: id }, 'the session exists');
    this.#options.transcripts.open(id);
    const session = this.#open(id, cwd);
    return { sessionId: id, ...settingsOf(session) };
  }

  async load(sessionId: string, cwd: string, client: AgentContext) {
    const said = this.#options.transcripts.read(sessionId);
    if (said === undefined) throw RequestError.sessionNotFound(sessionId);
    const session = this.#open(sessionId, cwd);
    for (const update of said) await send(client, sessionId, update);
    return settingsOf(session);
  }

  resume(sessionId: string, cwd: string) {
    if (this.#options.transcripts.read(sessionId) === undefined)
      throw RequestError.sessionNotFound(sessionId);
    return settingsOf(this.#open(sessionId, cwd));
  }

  close(sessionId: string): void {
    this.#get(sessionId).turn?.abort();
    this.#sessions.delete(sessionId);
  }

  async prompt(sessionId: string, prompt: readonly ContentBlock[], client: AgentContext) {
    const session = this.#get(sessionId);
    if (session.turn !== undefined) throw RequestError.invalidRequest({ sessionId }, 'a turn is running');
    const turn = new AbortController();
    session.turn = turn;
    const record = (update: SessionUpdate) => this.#options.transcripts.append(sessionId, update);
    try {
      const text = textOf(prompt);
      record({ sessionUpdate: 'user_message_chunk', content: { type: 'text', text } });
      const stopReason = await runTurn(text, session, {
        send: (update) => send(client, sessionId, update),
        record,
        ask: async (toolCall, options) =>
          (await client.request('session/request_permission', { sessionId, toolCall, options })).outcome,
        delayMs: this.#options.delayMs,
        signal: turn.signal,
      });
      return { stopReason };
    } finally {
      session.turn = undefined;
    }
  }

  cancel(sessionId: string): void {
    this.#sessions.get(sessionId)?.turn?.abort();
  }

  async setMode(sessionId: string, modeId: string, client: AgentContext) {
    const session = this.#get(sessionId);
    if (!MODES.some(({ id }) => id === modeId)) throw RequestError.invalidParams({ modeId }, 'unknown mode');
    session.modeId = modeId;
    await send(client, sessionId, { sessionUpdate: 'current_mode_update', currentModeId: modeId });
    return {};
  }

  setModel(sessionId: string, modelId: string) {
    const session = this.#get(sessionId);
    if (!MODELS.some((model) => model.modelId === modelId))
      throw RequestError.invalidParams({ modelId }, 'unknown model');
    session.modelId = modelId;
    return {};
  }

  /** The live session with this id, its settings and running turn left as they are; a new session when none is live. */
  #open(id: string, cwd: string): DemoSession {
    const session = this.#sessions.get(id) ?? newDemoSession(id, cwd);
    this.#sessions.set(id, session);
    return session;
  }

  #get(sessionId: string): DemoSession {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) throw RequestError.sessionNotFound(sessionId);
    return session;
  }
}

function send(client: AgentContext, sessionId: string, update: SessionUpdate): Promise<void> {
  return client.notify('session/update', { sessionId, update });
}

function textOf(prompt: readonly ContentBlock[]): string {
  return prompt.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n');
}

/** Checks the parameters of `session/set_model`, because this method is not in the SDK's table of stable methods. */
function parseSetModel(params: unknown): { readonly sessionId: string; readonly modelId: string } {
  const { sessionId, modelId } = (params ?? {}) as { sessionId?: unknown; modelId?: unknown };
  if (typeof sessionId !== 'string' || typeof modelId !== 'string')
    throw RequestError.invalidParams(undefined, 'sessionId and modelId must be strings');
  return { sessionId, modelId };
}
