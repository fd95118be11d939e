// A scripted model behind the OpenAI-compatible API, on loopback. It keeps no state: each request is answered by the
// directives in its newest user message, so that extra requests of an agent (titles, summaries) disturb nothing.
//
//   [[say:<text>]]              a text
//   [[think:<text>]]            reasoning before it
//   [[call:<tool>:<json>]]      a call of that tool; what the tool answers is then repeated as `tool said: <answer>`
//   [[hang]]                    as the last one: a chunk `hanging`, then nothing until the client leaves
//
// Without a directive the answer is the text `ok`.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
}

export interface ChatRequest {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  readonly stream?: boolean;
  readonly tools?: readonly { readonly function: { readonly name: string } }[];
}

type Delta = Readonly<Record<string, unknown>>;

interface Script {
  readonly deltas: readonly Delta[];
  readonly finish: 'stop' | 'tool_calls' | undefined;
}

const DIRECTIVE = /\[\[(say|think|call|hang)(?::([\s\S]*?))?\]\]/g;
/** Texts are streamed in pieces of this many characters. */
const PIECE_CHARS = 5;

export class OpenAiServer {
  /** Every chat request so far. */
  readonly requests: ChatRequest[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((req, res) => {
      this.#answer(req, res).catch((error: unknown) => {
        res.statusCode = 400;
        res.end(JSON.stringify({ error: { message: String(error) } }));
      });
    });
  }

  static async start(): Promise<OpenAiServer> {
    const server = new OpenAiServer();
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  /** For `OPENAI_BASE_URL`. */
  get baseUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  /** Cuts what is open and stops. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const request = JSON.parse(Buffer.concat(chunks).toString('utf8')) as ChatRequest;
    this.requests.push(request);
    const script = scriptFor(request);
    if (request.stream === true) stream(res, request.model, script);
    else whole(res, request.model, script);
  }
}

function scriptFor({ messages, tools = [] }: ChatRequest): Script {
  const newest = messages.at(-1);
  if (newest?.role === 'tool')
    return { deltas: pieces('content', `tool said: ${textOf(newest)}`), finish: 'stop' };
  const asked = textOf(messages.findLast(({ role }) => role === 'user'));
  const found = [...asked.matchAll(DIRECTIVE)];
  // The last one: agents put what came before an interruption into the same message.
  if (found.at(-1)?.[1] === 'hang') return { deltas: [{ content: 'hanging' }], finish: undefined };
  // A side question of the agent repeats the conversation but offers no tools.
  const calls = tools.length === 0 ? [] : found.filter(([, name]) => name === 'call');
  const texts = found.flatMap(([, name, text = '']) => {
    if (name === 'think') return pieces('reasoning_content', text);
    return name === 'say' ? pieces('content', text) : [];
  });
  const deltas = [...texts, ...calls.map(([, , call = ''], index) => toolCall(index, call))];
  return {
    deltas: deltas.length === 0 ? [{ content: 'ok' }] : deltas,
    finish: calls.length > 0 ? 'tool_calls' : 'stop',
  };
}

function textOf(message: ChatMessage | undefined): string {
  const { content } = message ?? {};
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content.map((part: { text?: unknown }) => (typeof part.text === 'string' ? part.text : '')).join('');
}

function pieces(field: string, text: string): Delta[] {
  return (text.match(new RegExp(`[\\s\\S]{1,${PIECE_CHARS}}`, 'g')) ?? []).map((piece) => ({
    [field]: piece,
  }));
}

function toolCall(index: number, call: string): Delta {
  const [name = '', ...json] = call.split(':');
  const id = `call_${index}_${name}`;
  return { tool_calls: [{ index, id, type: 'function', function: { name, arguments: json.join(':') } }] };
}

const USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };

function stream(res: ServerResponse, model: string, { deltas, finish }: Script): void {
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  const base = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model };
  const write = (chunk: unknown) => res.write(`data: ${JSON.stringify(chunk)}\n\n`);
  for (const [index, delta] of deltas.entries()) {
    const role = index === 0 ? { role: 'assistant' } : {};
    write({ ...base, choices: [{ index: 0, delta: { ...role, ...delta }, finish_reason: null }] });
  }
  if (finish === undefined) return;
  write({ ...base, choices: [{ index: 0, delta: {}, finish_reason: finish }] });
  write({ ...base, choices: [], usage: USAGE });
  res.end('data: [DONE]\n\n');
}

function whole(res: ServerResponse, model: string, { deltas, finish }: Script): void {
  const content = deltas.map(({ content: piece }) => (typeof piece === 'string' ? piece : '')).join('');
  const calls = deltas.flatMap(({ tool_calls: list }) => (Array.isArray(list) ? list : []));
  const message = { role: 'assistant', content, ...(calls.length === 0 ? {} : { tool_calls: calls }) };
  res.writeHead(200, { 'content-type': 'application/json' });
  res.end(
    JSON.stringify({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 1,
      model,
      choices: [{ index: 0, message, finish_reason: finish ?? 'stop' }],
      usage: USAGE,
    }),
  );
}
