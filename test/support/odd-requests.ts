// Generators of HTTP requests that follow the rules in most respects and break them in some, down to the bytes.
import fc from 'fast-check';

/** Placeholders in targets: the id of a live session, and the server's own `host:port`. */
const LIVE = 'LIVE';
const HOST = 'HOST';

const OPERATIONS = [
  'GET /health',
  'GET /capabilities',
  'GET /openapi.json',
  'POST /session',
  'DELETE /session/LIVE',
  'GET /session/LIVE/status',
  'POST /session/LIVE/prompt',
  'POST /session/LIVE/prompt',
  'POST /session/LIVE/cancel',
  'POST /session/LIVE/heartbeat',
  'POST /session/LIVE/detach',
  'PATCH /session/LIVE/metadata',
  'POST /session/LIVE/model',
  'POST /session/LIVE/approval-mode',
  'POST /session/LIVE/mid-turn-message',
  'GET /session/LIVE/pending-prompts',
  'DELETE /session/LIVE/pending-prompts/none',
  'POST /session/LIVE/permission/none',
  'GET /session/LIVE/events',
  'POST /session/LIVE/load',
  'POST /session/LIVE/resume',
  'GET /session/LIVE/context',
  'GET /session/LIVE/transcript',
  'POST /permission/none',
  'GET /workspace/%2Ftmp/sessions',
  'GET /workspaces/0123456789abcdef/sessions',
];
const METHODS = [
  'GET',
  'POST',
  'PATCH',
  'DELETE',
  'PUT',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'BREW',
  'get',
  '',
];
const SEGMENTS =
  'session workspace status prompt control .. %2e%2e %00 % %zz %C3%28 %2F %0d%0a ;a=b * __proto__'.split(' ');
const QUERIES = ['?', '?deep=1', '?maxQueued=1', '?size=-1&cursor=%ff', '?a[]=1&a=2', '?=', '?%'];
const TARGETS = [
  '*',
  `${HOST}/health`,
  `http://${HOST}/health`,
  'http://evil/session',
  '//',
  '/?',
  'x',
  '\x7f',
];

const segment = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...SEGMENTS) },
  { weight: 2, arbitrary: fc.string({ maxLength: 20 }).map(encodeURIComponent) },
  { weight: 1, arbitrary: fc.nat({ max: 20_000 }).map((length) => 'x'.repeat(length)) },
);

/** An operation of ours; now and then by another method, in another spelling, or with a part exchanged. */
const operation = fc
  .record({
    known: fc.constantFrom(...OPERATIONS),
    oddity: fc.nat({ max: 24 }),
    odd: segment,
    otherMethod: fc.constantFrom(...METHODS),
    query: fc.constantFrom(...QUERIES),
    otherTarget: fc.constantFrom(...TARGETS),
  })
  .map(({ known, oddity, odd, otherMethod, query, otherTarget }) => {
    const [method = '', path = ''] = known.split(' ');
    const spellings: readonly (readonly [string, string])[] = [
      [method, `${path}/`],
      [method, path.replace(/\w+$/, (word) => word.toUpperCase())],
      [method, path.replace(/[^/]*$/, odd)],
      [method, path.replace(LIVE, odd)],
      [method, `${path}/${odd}`],
      [method, path + query],
      [method, path + query],
      [otherMethod, path],
      [otherMethod, path],
      [method, otherTarget],
    ];
    return spellings[oddity] ?? ([method, path] as const);
  });

const saneHeader = fc.tuple(
  fc.constantFrom(
    'Last-Event-ID',
    'X-Qwen-Event-Epoch',
    'Authorization',
    'X-Request-Id',
    'Accept',
    'X-Qwen-Client-Id',
  ),
  fc.constantFrom('', '0', '-1', '9007199254740993', 'text/html', 'client_1', 'Bearer x', 'a'.repeat(200)),
);
const oddHeader = fc.tuple(
  fc.constantFrom(
    'Expect',
    'Upgrade',
    'Cookie',
    'Content-Encoding',
    'Range',
    'X-Qwen-Coordinator-Peer',
    'Bad Header',
  ),
  fc.string({ unit: 'binary-ascii', maxLength: 30 }),
);
const header = fc.oneof({ weight: 12, arbitrary: saneHeader }, { weight: 1, arbitrary: oddHeader });

const nested = fc
  .record({ depth: fc.nat({ max: 30_000 }), open: fc.constantFrom('[', '{"a":') })
  .map(({ depth, open }) => `${open.repeat(depth)}1${(open === '[' ? ']' : '}').repeat(depth)}`);
const prompt = fc.oneof(
  { weight: 3, arbitrary: fc.constant([{ type: 'text', text: 'hi' }]) },
  { weight: 1, arbitrary: fc.array(fc.jsonValue(), { maxLength: 3 }) },
  {
    weight: 1,
    arbitrary: fc.array(fc.record({ type: fc.string(), text: fc.jsonValue() }), { maxLength: 3 }),
  },
);
const fields = fc.record(
  {
    cwd: fc.oneof(fc.string(), fc.constantFrom('/', '/tmp', '/\0', null)),
    sessionScope: fc.constantFrom('single', 'thread', 'other', 1),
    sessionId: fc.oneof(fc.uuid(), fc.string(), fc.constant(null)),
    modelId: fc.oneof(fc.string(), fc.nat()),
    modelServiceId: fc.oneof(fc.string(), fc.nat()),
    approvalMode: fc.constantFrom('plan', 'yolo', 'x', {}),
    mode: fc.constantFrom('plan', 'x', 7),
    deadlineMs: fc.oneof(fc.integer(), fc.double(), fc.string()),
    message: fc.oneof(fc.string(), fc.nat()),
    outcome: fc.jsonValue(),
    displayName: fc.oneof(fc.string({ unit: 'binary' }), fc.nat()),
    pr: fc.jsonValue(),
    _meta: fc.jsonValue(),
    extra: fc.jsonValue(),
    prompt,
  },
  { requiredKeys: [] },
);
const STRANGE_BODIES = ['{', '{"a":}', '\ufeff{}', 'null', '{"__proto__":{"cwd":"x"},"constructor":1}'];
const body = fc.oneof(
  { weight: 3, arbitrary: fc.constant('') },
  { weight: 6, arbitrary: fields.map((value) => JSON.stringify(value)) },
  { weight: 4, arbitrary: prompt.map((value) => JSON.stringify({ prompt: value })) },
  { weight: 2, arbitrary: fc.json() },
  { weight: 1, arbitrary: nested },
  { weight: 1, arbitrary: fc.nat({ max: 400_000 }).map((length) => `{"message":"${'y'.repeat(length)}"}`) },
  { weight: 1, arbitrary: fc.constantFrom(...STRANGE_BODIES) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 100 }) },
);

const framing = fc.oneof(
  { weight: 16, arbitrary: fc.constantFrom('length', 'chunked') },
  { weight: 3, arbitrary: fc.constantFrom('short', 'both', 'none', 'twice') },
  // It waits for what never comes, until the server gives up.
  { weight: 1, arbitrary: fc.constant('long') },
);

export const oddRequest = fc.record({
  operation,
  headers: fc.array(header, { maxLength: 2 }),
  contentType: fc.oneof(
    { weight: 6, arbitrary: fc.constant('application/json') },
    { weight: 1, arbitrary: fc.constantFrom('text/plain', 'application/x+json', '') },
  ),
  body,
  framing,
});
export type OddRequest = typeof oddRequest extends fc.Arbitrary<infer T> ? T : never;

/** The request as it goes out. What is framed neither by `length` nor `chunked` lies about its body. */
export function bytesOf(made: OddRequest, liveSession: string, host: string): Buffer {
  const payload = Buffer.from(made.body);
  const [method, target] = made.operation;
  const path = target.replaceAll(LIVE, liveSession).replaceAll(HOST, host);
  const lengths: Readonly<Record<string, readonly string[]>> = {
    length: [`Content-Length: ${payload.length}`],
    short: [`Content-Length: ${Math.floor(payload.length / 2)}`],
    long: [`Content-Length: ${payload.length + 10}`],
    twice: [`Content-Length: ${payload.length}`, 'Content-Length: 1'],
    chunked: ['Transfer-Encoding: chunked'],
    both: [`Content-Length: ${payload.length}`, 'Transfer-Encoding: chunked'],
  };
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${host}`,
    'Connection: close',
    ...(made.contentType === '' ? [] : [`Content-Type: ${made.contentType}`]),
    ...(lengths[made.framing] ?? []),
    ...made.headers.map(([name, value]) => `${name}: ${value}`),
  ];
  const isChunked = made.framing === 'chunked' || made.framing === 'both';
  const size = Buffer.from(`${payload.length.toString(16)}\r\n`);
  const chunk = payload.length === 0 ? [] : [size, payload, Buffer.from('\r\n')];
  const sent = isChunked ? [...chunk, Buffer.from('0\r\n\r\n')] : [payload];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), ...sent]);
}
