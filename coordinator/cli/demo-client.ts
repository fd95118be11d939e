// The demo's client of the coordinator: the few calls of the wire protocol that one conversation needs, written out plainly.

export type DemoEvent =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'tool'; readonly title: string }
  | {
      readonly type: 'question';
      readonly requestId: string;
      readonly title: string;
      readonly options: readonly { readonly optionId: string; readonly name: string }[];
    };

/** One session, with the calls that the demo makes on it. */
export interface DemoConversation {
  readonly sessionId: string;
  /** Sends a prompt and yields the events of its turn until the turn has ended. */
  prompt(text: string): AsyncIterable<DemoEvent>;
  vote(requestId: string, optionId: string): Promise<void>;
  close(): Promise<void>;
}

interface Envelope {
  readonly type: string;
  readonly data: Readonly<Record<string, never>>;
}

/** Opens a session in the workspace `cwd`. @throws Error with the coordinator's refusal as the message. */
export async function openSession(base: string, cwd: string, signal: AbortSignal): Promise<DemoConversation> {
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${base}${path}`, {
      method,
      signal,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  };
  const { sessionId } = (await call('POST', '/session', { cwd })) as { sessionId: string };
  const at = `/session/${sessionId}`;
  return {
    sessionId,
    async *prompt(text) {
      const accepted = await call('POST', `${at}/prompt`, { prompt: [{ type: 'text', text }] });
      // The stream resumes after the last event before the prompt, so no event of the turn is missed, whenever the stream opens.
      const headers = { 'last-event-id': String(accepted.lastEventId) };
      for await (const envelope of events(`${base}${at}/events`, headers, signal)) {
        const ended = endOf(envelope, String(accepted.promptId));
        if (ended) return;
        const event = demoEvent(envelope);
        if (event !== undefined) yield event;
      }
    },
    async vote(requestId, optionId) {
      await call('POST', `${at}/permission/${encodeURIComponent(requestId)}`, {
        outcome: { outcome: 'selected', optionId },
      });
    },
    async close() {
      await call('DELETE', at);
    },
  };
}

async function* events(
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): AsyncGenerator<Envelope> {
  const response = await fetch(url, { headers, signal });
  if (!response.ok || response.body === null) throw new Error(`GET ${url}: ${response.status}`);
  let text = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const frames = text.split('\n\n');
    text = frames.pop() ?? '';
    for (const frame of frames) {
      const data = /^data: (.*)$/m.exec(frame)?.[1];
      if (data !== undefined) yield JSON.parse(data) as Envelope;
    }
  }
}

/** Whether the event completes the turn of `promptId`. @throws Error when it says that the turn failed or the session ended. */
function endOf({ type, data }: Envelope, promptId: string): boolean {
  if (type === 'session_died' || type === 'session_closed' || type === 'stream_error')
    throw new Error(`the session ended: ${JSON.stringify(data)}`);
  if (data.promptId !== promptId) return false;
  if (type === 'turn_error') throw new Error(`the turn failed: ${JSON.stringify(data)}`);
  return type === 'turn_complete';
}

function demoEvent({ type, data }: Envelope): DemoEvent | undefined {
  if (type === 'permission_request') {
    const { requestId, toolCall, options } = data as unknown as {
      requestId: string;
      toolCall: { title?: string };
      options: readonly { optionId: string; name: string }[];
    };
    return { type: 'question', requestId, title: toolCall.title ?? 'permission', options };
  }
  if (type !== 'session_update') return undefined;
  const { update } = data as unknown as {
    update: { sessionUpdate: string; content?: { text?: string }; title?: string };
  };
  if (update.sessionUpdate === 'agent_message_chunk')
    return { type: 'text', text: update.content?.text ?? '' };
  return update.sessionUpdate === 'tool_call' ? { type: 'tool', title: update.title ?? 'tool' } : undefined;
}
