// The tests' scripted ACP agent on stdio: hand-written JSON-RPC, so that it costs little and can misbehave.
//
// A prompt's first text block is a list of directives, separated by " ; " and run in order. The turn then ends with
// `end_turn` (or `cancelled`). A text that is no directive is answered by one chunk `echo: <text>`.
//
//   N:<chunks>:<size>[:<delayMs>]   that many agent_message_chunks of <size> characters, `<index>@<time>|xxx`
//   crash                           one chunk, then exit code 7
//   crash-signal                    one chunk, then SIGKILL to itself
//   last-words                      one chunk and the answer (stopReason end_turn), then exit code 0 at once
//   hang                            no answer until it is cancelled
//   ignore-cancel                   no answer, and cancels are ignored
//   permission                      asks session/request_permission, reports the whole result as a chunk of JSON
//   permissions:<k>                 asks k at once, reports each result as it comes
//   error:<code>:<message>          answers the prompt with that JSON-RPC error
//   garbage                         three lines on stdout that are no message
//   long-line:<bytes>               that many bytes on stdout without a newline
//   stderr:<text>                   a line on stderr
//   child                           a long-lived child in the group that ignores SIGTERM; reports `child:<pid>`
//   setsid-child                    one that left the group and the session; reports `child:<pid>`
//   holder                          a child that holds our stdout open for ever; reports `child:<pid>`
//   unknown-update                  a session/update of an unknown kind with extra fields
//   update:<json>                   a session/update with that `update`
//   notify:<method>:<json>          that notification (sessionId is added)
//   call:<method>:<json>            that request (sessionId is added), reports the answer as a chunk of JSON
//   close-stdin                     stops reading and closes stdin
//   sleep:<ms>                      waits
//   after-answer:<text>             a chunk written together with the prompt's answer, right behind it
//   early:<json>                    from now on session/new, load and resume send a session/update with that `update`
//                                   before their answer
//
// Methods beyond ACP: `stub/state` answers what the agent knows (calls by method, sessions). With `--ext` it knows
// craft/cancelPendingPrompt and qwen/control/session/close.
//
// Switches: --no-new  session/new fails          --load               advertises loadSession
//           --slow-init <ms>                     --silent-init        never answers initialize
//           --exit-on-init <code>                --protocol <n>       answers initialize with that version
//           --ignore-term  ignores SIGTERM and the end of stdin       --init-child  like `child`, while in initialize
//           --ext  (see above)
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync } from 'node:fs';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({
  options: {
    'no-new': { type: 'boolean' },
    load: { type: 'boolean' },
    'slow-init': { type: 'string' },
    'silent-init': { type: 'boolean' },
    'exit-on-init': { type: 'string' },
    protocol: { type: 'string' },
    'ignore-term': { type: 'boolean' },
    'init-child': { type: 'boolean' },
    ext: { type: 'boolean' },
    acp: { type: 'boolean' },
  },
});

// The variable is for servers that choose the agent's arguments themselves.
const hasExtensions = flags.ext === true || process.env.STUB_AGENT_EXT === '1';

const models = {
  availableModels: [
    { modelId: 'm1', name: 'm1' },
    { modelId: 'm2', name: 'm2' },
  ],
  currentModelId: 'm1',
};
const modes = {
  availableModes: ['plan', 'default', 'auto-edit', 'yolo'].map((id) => ({ id, name: id })),
  currentModeId: 'default',
};

const sessions = new Map();
const calls = {};
const asked = new Map();
let nextAsk = 1;
let early;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const line = (message) => `${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`;
const out = (message) => process.stdout.write(line(message));
const updateMessage = (sessionId, update) => ({ method: 'session/update', params: { sessionId, update } });
const chunk = (text) => ({ sessionUpdate: 'agent_message_chunk', content: { type: 'text', text } });
const say = (sessionId, text) => out(updateMessage(sessionId, chunk(text)));
const flushed = () => new Promise((resolve) => process.stdout.write('', resolve));

function ask(method, params) {
  const id = `stub-${nextAsk++}`;
  out({ id, method, params });
  return new Promise((resolve) => asked.set(id, resolve));
}

function askPermission(sessionId, number = 1) {
  return ask('session/request_permission', {
    sessionId,
    toolCall: { toolCallId: `call-${number}`, title: `edit ${number}`, kind: 'edit', status: 'pending' },
    options: [
      { optionId: 'allow', name: 'Allow', kind: 'allow_once' },
      { optionId: 'always', name: 'Always', kind: 'allow_always' },
      { optionId: 'reject', name: 'Reject', kind: 'reject_once' },
    ],
    stubExtra: number,
  });
}

/** A child that lives for a minute. It ignores SIGTERM, so that only SIGKILL ends it. */
function startChild(options) {
  const script =
    "process.on('SIGTERM', () => {}); setTimeout(() => {}, 60_000); process.stdin.resume(); process.send?.('up');";
  const child = spawn(process.execPath, ['-e', script], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    ...options,
  });
  return new Promise((resolve) =>
    child.once('message', () => {
      child.disconnect();
      child.unref();
      resolve(child.pid);
    }),
  );
}

/** Resolves when the session is cancelled. */
function cancelled(session) {
  return new Promise((resolve) => session.onCancel.push(resolve));
}

async function flood(id, session, [count, size, delayMs]) {
  for (let i = 0; i < Number(count) && !session.isCancelled; i++) {
    const head = `${i}@${(performance.timeOrigin + performance.now()).toFixed(2)}|`;
    const text = head + 'x'.repeat(Math.max(0, Number(size) - head.length));
    if (!say(id, text)) await new Promise((resolve) => process.stdout.once('drain', resolve));
    if (delayMs !== undefined) await sleep(Number(delayMs));
  }
}

async function crash(id, end) {
  say(id, 'before the crash');
  await flushed();
  end();
}

/** Each returns nothing, or what the prompt is answered with. */
const DIRECTIVES = {
  N: (id, session, rest) => flood(id, session, rest.split(':')),
  crash: (id) => crash(id, () => process.exit(7)),
  'crash-signal': (id) => crash(id, () => process.kill(process.pid, 'SIGKILL')),
  'last-words': async (id, session) => {
    say(id, 'last words');
    out({ id: session.promptId, result: { stopReason: 'end_turn' } });
    process.exit(0);
  },
  hang: (_id, session) => cancelled(session),
  'ignore-cancel': () => new Promise(() => {}),
  permission: async (id, session) => {
    const answer = await Promise.race([askPermission(id), cancelled(session)]);
    if (answer !== undefined) say(id, JSON.stringify(answer));
  },
  permissions: async (id, _session, count) => {
    const questions = Array.from({ length: Number(count) }, (_, index) => askPermission(id, index + 1));
    await Promise.all(questions.map(async (answer) => say(id, JSON.stringify(await answer))));
  },
  error: (_id, _session, rest) => {
    const [code, ...message] = rest.split(':');
    return { error: { code: Number(code), message: message.join(':'), data: { errorKind: 'stub' } } };
  },
  garbage: () => {
    process.stdout.write('not json\n[1,2]\n{"jsonrpc":"2.0","id":99999,"result":{}}\n');
  },
  'long-line': (_id, _session, bytes) => {
    process.stdout.write('x'.repeat(Number(bytes)));
    return new Promise(() => {});
  },
  stderr: (_id, _session, text) => {
    process.stderr.write(`${text}\n`);
  },
  child: async (id) => say(id, `child:${await startChild({})}`),
  'setsid-child': async (id) => say(id, `child:${await startChild({ detached: true })}`),
  holder: async (id) =>
    say(id, `child:${await startChild({ detached: true, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })}`),
  'unknown-update': (id) => {
    out(updateMessage(id, { sessionUpdate: 'stub_unknown', extra: { deep: [1, null, 'ä'] }, timestamp: 12 }));
  },
  update: (id, _session, json) => {
    out(updateMessage(id, JSON.parse(json)));
  },
  notify: (id, _session, rest) => {
    const [method, ...json] = rest.split(':');
    out({ method, params: { sessionId: id, ...JSON.parse(json.join(':') || '{}') } });
  },
  call: async (id, _session, rest) => {
    const [method, ...json] = rest.split(':');
    say(id, JSON.stringify(await ask(method, { sessionId: id, ...JSON.parse(json.join(':') || '{}') })));
  },
  'close-stdin': () => {
    process.stdin.destroy();
    // The stream alone keeps descriptors 0 to 2 open.
    closeSync(0);
    return new Promise(() => setTimeout(() => {}, 60_000));
  },
  sleep: (_id, _session, ms) => sleep(Number(ms)),
  early: (_id, _session, json) => {
    early = JSON.parse(json);
  },
  'after-answer': (_id, session, text) => {
    session.afterAnswer = text;
  },
};

async function runTurn(id, session, text) {
  for (const directive of text.split(' ; ')) {
    const [name] = directive.split(':');
    const run = Object.hasOwn(DIRECTIVES, name) ? DIRECTIVES[name] : undefined;
    if (run === undefined) say(id, `echo: ${directive}`);
    const answer = await run?.(id, session, directive.slice(name.length + 1));
    if (answer?.error !== undefined) return answer;
    if (session.isCancelled) break;
  }
  return { result: { stopReason: session.isCancelled ? 'cancelled' : 'end_turn' } };
}

async function prompt(requestId, params) {
  const session = sessions.get(params.sessionId);
  if (session === undefined) return { error: { code: -32002, message: 'unknown session' } };
  Object.assign(session, { isCancelled: false, onCancel: [], promptId: requestId, afterAnswer: undefined });
  const text = params.prompt?.find((block) => block.type === 'text')?.text ?? '';
  const answer = await runTurn(params.sessionId, session, text);
  if (session.afterAnswer === undefined) return answer;
  const behind = line(updateMessage(params.sessionId, chunk(session.afterAnswer)));
  process.stdout.write(line({ id: requestId, ...answer }) + behind);
  return undefined;
}

function cancel(sessionId) {
  const session = sessions.get(sessionId);
  if (session === undefined) return;
  session.isCancelled = true;
  for (const resolve of session.onCancel ?? []) resolve();
}

function open(sessionId) {
  sessions.set(sessionId, sessions.get(sessionId) ?? {});
  if (early !== undefined) out(updateMessage(sessionId, early));
  return { models, modes };
}

async function initialize() {
  if (flags['exit-on-init'] !== undefined) {
    process.stderr.write('cannot go on\n');
    process.exit(Number(flags['exit-on-init']));
  }
  if (flags['init-child']) process.stderr.write(`child:${await startChild({})}\n`);
  if (flags['silent-init']) return undefined;
  if (flags['slow-init'] !== undefined) await sleep(Number(flags['slow-init']));
  return {
    result: {
      protocolVersion: Number(flags.protocol ?? 1),
      agentInfo: { name: 'stub', version: '1' },
      agentCapabilities: {
        loadSession: flags.load === true,
        promptCapabilities: { image: false, audio: false, embeddedContext: true },
      },
      authMethods: [],
      // The stock server refuses an agent that does not acknowledge its tool guard; the benchmark puts us behind it.
      _meta: { 'qwen-code/external-tool-guard-ready': 'required-v1' },
    },
  };
}

const METHODS = {
  initialize,
  'session/new': (_id, params) => {
    if (flags['no-new'])
      return { error: { code: -32603, message: 'no new sessions', data: { errorKind: 'stub' } } };
    const sessionId = params._meta?.['qwen-code/sessionId'] ?? randomUUID();
    return { result: { sessionId, ...open(sessionId) } };
  },
  'session/load': (_id, params) => ({ result: open(params.sessionId) }),
  'session/resume': (_id, params) => ({ result: open(params.sessionId) }),
  'session/set_model': () => ({ result: {} }),
  'session/set_mode': () => ({ result: {} }),
  'session/cancel': (_id, params) => cancel(params.sessionId),
  'session/prompt': prompt,
  'stub/state': () => ({ result: { calls, sessions: [...sessions.keys()], pid: process.pid } }),
};

const EXTENSIONS = {
  'craft/cancelPendingPrompt': (_id, params) => {
    cancel(params.sessionId);
    return { result: { cancelled: true } };
  },
  'qwen/control/session/close': (_id, params) => ({
    result: { sessionId: params.sessionId, closed: sessions.delete(params.sessionId) },
  }),
};

async function handle({ id, method, params = {}, result, error }) {
  if (method === undefined) {
    asked.get(id)?.(error === undefined ? { result } : { error });
    asked.delete(id);
    return;
  }
  calls[method] = (calls[method] ?? 0) + 1;
  const run = METHODS[method] ?? (hasExtensions ? EXTENSIONS[method] : undefined);
  const answer =
    run === undefined
      ? { error: { code: -32601, message: `Method not found: ${method}` } }
      : await run(id, params);
  if (id !== undefined && answer !== undefined) out({ id, ...answer });
}

let held = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (data) => {
  const lines = (held + data).split('\n');
  held = lines.pop() ?? '';
  for (const text of lines) if (text.trim() !== '') void handle(JSON.parse(text));
});
process.stdin.on('end', () => {
  if (!flags['ignore-term']) process.exit(0);
});
if (flags['ignore-term']) {
  process.on('SIGTERM', () => {});
  setInterval(() => {}, 60_000);
}
