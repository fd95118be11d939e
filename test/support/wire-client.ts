// Raw HTTP for tests of the wire: nothing is added, normalised or retried, and every byte of the answer is kept.
import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body as JSON; {} where it is none. */
  readonly json: Record<string, unknown>;
}

export interface CallOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is. */
  readonly body?: string | Buffer;
  readonly signal?: AbortSignal;
}

/** Where to connect for a base URL, or for a socket written as `unix:<path>`. */
export function placeOf(base: string): Pick<RequestOptions, 'hostname' | 'port' | 'socketPath'> {
  if (base.startsWith('unix:')) return { socketPath: base.slice('unix:'.length) };
  const { hostname, port } = new URL(base);
  return { hostname, port };
}

/** One request on a connection of its own. `path` goes out as it is. */
export function call(base: string, method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const body = options.json === undefined ? options.body : JSON.stringify(options.json);
  const type = options.json === undefined ? {} : { 'content-type': 'application/json' };
  const isChunked = options.headers?.['transfer-encoding'] !== undefined;
  const length = body === undefined || isChunked ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  return new Promise((resolve, reject) => {
    const req = request({
      ...placeOf(base),
      method,
      path,
      agent: false,
      // As the stock client does it: asked to close, a server may do so while the client is still sending.
      headers: { connection: 'keep-alive', ...type, ...length, ...options.headers },
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    req.on('error', reject);
    req.on('response', (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('error', reject);
      res.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({ status: res.statusCode ?? 0, headers: res.headers, text, json: parsed(text) });
      });
    });
    req.end(body);
  });
}

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    // HTML, or nothing: the test that cares looks at the text.
    return {};
  }
}

export interface CreatedSession {
  readonly sessionId: string;
  readonly clientId: string;
  readonly attached: boolean;
}

/** POST /session that has to succeed. */
export async function createSession(
  base: string,
  body: Readonly<Record<string, unknown>> = {},
): Promise<CreatedSession> {
  const answer = await call(base, 'POST', '/session', { json: body });
  if (answer.status !== 200) throw new Error(`POST /session: ${answer.status} ${answer.text}`);
  return answer.json as unknown as CreatedSession;
}

/** A session that shares nothing with another test. */
export function newSession(base: string, cwd?: string): Promise<CreatedSession> {
  return createSession(base, { sessionScope: 'thread', ...(cwd === undefined ? {} : { cwd }) });
}

export interface Admission {
  readonly promptId: string;
  readonly lastEventId: number;
  readonly eventEpoch: string;
}

export function clientHeader(clientId: string | undefined): Record<string, string> {
  return clientId === undefined ? {} : { 'x-qwen-client-id': clientId };
}

/** POST prompt that has to be accepted; `text` is a list of the stub agent's directives. */
export async function sendPrompt(
  base: string,
  sessionId: string,
  text: string,
  clientId?: string,
): Promise<Admission> {
  const answer = await call(base, 'POST', `/session/${sessionId}/prompt`, {
    json: { prompt: [{ type: 'text', text }] },
    headers: clientHeader(clientId),
  });
  if (answer.status !== 202) throw new Error(`POST prompt: ${answer.status} ${answer.text}`);
  return answer.json as unknown as Admission;
}
