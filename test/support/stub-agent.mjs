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
//   where                           says the working directory that the session was opened with
//   model:<id>                      changes the session's model and notifies of it
//   mode:<id>                       changes its mode, sends the frame and notifies of it
//   quiet-model:<id>                changes the model as a command does: with a line of output, without a notification
//   next:<method>:<json>            how the next call of that method goes: {delayMs, lands, error, answer}; it changes what
//                                   it is there to change after the delay, unless `lands` is false
//   after-answer:<text>             a chunk written together with the prompt's answer, right behind it
//   early:<json>                    from now on session/new, load and resume send a session/update with that `update`
//                                   before their answer
//   early-notify:<method>:<json>    the same with that notification (sessionId is added); early ones go out in order
//   raw:<text>                      that text on stdout as it is, with \n for a newline
//   answer:<json>                   this prompt is answered with that whole message, `id` being the prompt's unless given
//   exit:<code>                     ends at once with that code
//
// Methods beyond ACP: `stub/state` answers what the agent knows (calls by method, sessions). With `--ext` it knows
// craft/cancelPendingPrompt, qwen/control/session/close, the context and the approval mode of a session, and settings.
//
// Switches: --no-new  session/new fails          --load               advertises loadSession
//           --slow-new <ms>
//           --slow-init <ms>                     --silent-init        never answers initialize
//           --exit-on-init <code>                --protocol <n>       answers initialize with that version
//           --ignore-term  ignores SIGTERM and the end of stdin       --init-child  like `child`, while in initialize
//           --ext  (see above)                   --resume             advertises session/resume
//           --memory <dir>  remembers what each session said, over restarts; load tells it again as updates, or in its
//                           answer when asked for "bulk" and started with --bulk. Unknown sessions are -32002
//           --transcripts   answers qwen/status/session/transcript, with what --memory keeps
//           --list          answers session/list with what --memory keeps, two on a page; also deletes: --list=standard by
//                           session/delete, --list=own by deleteSession, --list=no not at all
//           --slow-load <ms>  load and resume answer that late
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { appendFileSync, closeSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({
  options: {
    'no-new': { type: 'boolean' },
    load: { type: 'boolean' },
    'slow-init': { type: 'string' },
    'slow-new': { type: 'string' },
    'silent-init': { type: 'boolean' },
    'exit-on-init': { type: 'string' },
    protocol: { type: 'string' },
    'ignore-term': { type: 'boolean' },
    'init-child': { type: 'boolean' },
    ext: { type: 'boolean' },
    acp: { type: 'boolean' },
    memory: { type: 'string' },
    bulk: { type: 'boolean' },
    resume: { type: 'boolean' },
    transcripts: { type: 'boolean' },
    list: { type: 'string' },
    'slow-load': { type: 'string' },
  },
});

// The variables are for servers that choose the agent's arguments themselves.
const hasExtensions = flags.ext === true || process.env.STUB_AGENT_EXT === '1';
const keepsTranscripts = flags.transcripts === true || process.env.STUB_AGENT_TRANSCRIPTS === '1';

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
/** Lines that go out before a session is opened, made with its id. */
const early = [];

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const line = (message) => `${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`;
const out = (message) => {
  if (message.method === 'session/update') remember(message.params.sessionId, message.params.update);
  return process.stdout.write(line(message));
};
const updateMessage = (sessionId, update) => ({ method: 'session/update', params: { sessionId, update } });
const chunk = (text) => ({ sessionUpdate: 'agent_message_chunk', content: { type: 'text', text } });
const say = (sessionId, text) => out(updateMessage(sessionId, chunk(text)));
const flushed = () => new Promise((resolve) => process.stdout.write('', resolve));

const memoryOf = (id) => join(flags.memory, `${encodeURIComponent(id)}.jsonl`);

function remember(id, update) {
  if (flags.memory !== undefined) appendFileSync(memoryOf(id), `${JSON.stringify(update)}\n`);
}

/** The updates of a session's past; undefined for a session that never was. */
function remembered(id) {
  if (flags.memory === undefined || !existsSync(memoryOf(id))) return undefined;
  const lines = readFileSync(memoryOf(id), 'utf8').split('\n');
  return lines.filter((text) => text !== '').map((text) => JSON.parse(text));
}

function ask(method, params) {
  const id = `stub-${nextAsk++}`;
  out({ id, method, params });
  return new Promise((resolve) => asked.set(id, resolve));
}

function notify(sessionId, what, params) {
  out({ method: `qwen/notify/session/${what}`, params: { v: 1, sessionId, ...params } });
}

/** Runs `land` as the session's `next` directive has it, if there is one for the method. */
async function scripted(method, { sessionId }, land) {
  const session = sessions.get(sessionId);
  if (session === undefined) return { error: { code: -32002, message: 'unknown session' } };
  const { delayMs = 0, lands = true, error, answer } = session.next?.[method] ?? {};
  delete session.next?.[method];
  if (delayMs > 0) await sleep(delayMs);
  const result = lands ? land(session) : {};
  return error === undefined ? { result: answer ?? result } : { error };
}

function stateOf(session) {
  return {
    models: { ...models, currentModelId: session.model ?? models.currentModelId },
    modes: { ...modes, currentModeId: session.mode ?? modes.currentModeId },
    configOptions: [],
  };
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

/** A chunk of text that JSON writes as it is. The line is not made anew each time: in a flood it is the server that counts. */
function plainChunks(id) {
  if (flags.memory !== undefined) return (text) => say(id, text);
  const [head, tail] = line(updateMessage(id, chunk('TEXT'))).split('TEXT');
  return (text) => process.stdout.write(head + text + tail);
}

async function flood(id, session, [count, size, delayMs]) {
  const sayPlain = plainChunks(id);
  for (let i = 0; i < Number(count) && !session.isCancelled; i++) {
    const head = `${i}@${(performance.timeOrigin + performance.now()).toFixed(2)}|`;
    const text = head + 'x'.repeat(Math.max(0, Number(size) - head.length));
    if (!sayPlain(text)) await new Promise((resolve) => process.stdout.once('drain', resolve));
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
    // An exit drops what its own stdout still holds, more of it on newer Nodes.
    await flushed();
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
  where: (id, session) => {
    say(id, `cwd: ${session.cwd}`);
  },
  model: (id, session, modelId) => {
    session.model = modelId;
    notify(id, 'model-update', { currentModelId: modelId });
  },
  mode: (id, session, modeId) => {
    session.mode = modeId;
    out(updateMessage(id, { sessionUpdate: 'current_mode_update', currentModeId: modeId }));
    notify(id, 'mode-update', { currentModeId: modeId, legacyFrameSent: true });
  },
  'quiet-model': (id, session, modelId) => {
    session.model = modelId;
    out(updateMessage(id, { ...chunk(`Model: ${modelId}`), _meta: { source: 'slash_command' } }));
  },
  next: (_id, session, rest) => {
    const [method, ...json] = rest.split(':');
    session.next = { ...session.next, [method]: JSON.parse(json.join(':')) };
  },
  early: (_id, _session, json) => {
    const update = JSON.parse(json);
    early.push((id) => updateMessage(id, update));
  },
  'early-notify': (_id, _session, rest) => {
    const [method, ...json] = rest.split(':');
    const params = JSON.parse(json.join(':') || '{}');
    early.push((sessionId) => ({ method, params: { sessionId, ...params } }));
  },
  raw: (_id, _session, text) => {
    process.stdout.write(text.replaceAll('\\n', '\n'));
  },
  answer: (_id, session, json) => {
    session.fixedAnswer = JSON.parse(json);
  },
  exit: (_id, _session, code) => process.exit(Number(code)),
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
  Object.assign(session, { isCancelled: false, onCancel: [], promptId: requestId });
  Object.assign(session, { afterAnswer: undefined, fixedAnswer: undefined });
  const text = params.prompt?.find((block) => block.type === 'text')?.text ?? '';
  for (const content of params.prompt ?? [])
    remember(params.sessionId, { sessionUpdate: 'user_message_chunk', content });
  const answer = await runTurn(params.sessionId, session, text);
  if (session.fixedAnswer !== undefined) {
    process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id: requestId, ...session.fixedAnswer })}\n`);
    return undefined;
  }
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

function open(sessionId, cwd) {
  sessions.set(sessionId, Object.assign(sessions.get(sessionId) ?? {}, { cwd }));
  for (const message of early) out(message(sessionId));
  return stateOf(sessions.get(sessionId));
}

/** Brings a session back, and tells its past where that is asked for. */
async function bringBack({ sessionId, cwd, _meta }, isTold) {
  if (flags['slow-load'] !== undefined) await sleep(Number(flags['slow-load']));
  if (flags.memory === undefined) return { result: open(sessionId, cwd) };
  const updates = remembered(sessionId);
  if (updates === undefined) return { error: { code: -32002, message: `Resource not found: ${sessionId}` } };
  const result = open(sessionId, cwd);
  if (!isTold) return { result };
  if (flags.bulk === true && _meta?.['qwen.session.loadReplayMode'] === 'bulk')
    return { result: { ...result, _meta: { 'qwen.session.loadReplay': { v: 1, updates } } } };
  for (const update of updates) process.stdout.write(line(updateMessage(sessionId, update)));
  return { result };
}

function transcriptPage({ sessionId, limit = 100, cursor }) {
  const updates = remembered(sessionId);
  if (updates === undefined) return { error: { code: -32010, message: 'no transcript' } };
  const start = Number(cursor ?? 0);
  const page = updates.slice(start, start + limit);
  const next = start + page.length;
  const hasMore = next < updates.length;
  const events = page.map((data) => ({ v: 1, type: 'session_update', data }));
  return { result: { v: 1, sessionId, events, hasMore, ...(hasMore ? { nextCursor: String(next) } : {}) } };
}

/** A page of the sessions that are remembered and in which something was said, newest first. */
function listPage({ cursor }) {
  const all = readdirSync(flags.memory)
    .map((name) => ({ name, ...statSync(join(flags.memory, name)) }))
    .filter(({ size }) => size > 0)
    .sort((a, b) => b.mtimeMs - a.mtimeMs)
    .map(({ name, mtimeMs }) => {
      const sessionId = decodeURIComponent(name.slice(0, -'.jsonl'.length));
      const title = remembered(sessionId)[0].content?.text ?? '(session)';
      return { sessionId, cwd: process.cwd(), title, updatedAt: new Date(mtimeMs).toISOString() };
    });
  const start = Number(cursor ?? 0);
  const next = start + 2;
  return { sessions: all.slice(start, next), ...(next < all.length ? { nextCursor: String(next) } : {}) };
}

function deleteMemory({ sessionId }) {
  if (sessions.has(sessionId)) return { error: { code: -32602, message: 'the session is open' } };
  rmSync(memoryOf(sessionId));
  return { result: { success: true } };
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
        sessionCapabilities: {
          ...(flags.resume === true ? { resume: {} } : {}),
          ...(flags.list === undefined ? {} : { list: {} }),
          ...(flags.list === 'standard' ? { delete: {} } : {}),
        },
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
  'session/new': async (_id, params) => {
    if (flags['slow-new'] !== undefined) await sleep(Number(flags['slow-new']));
    if (flags['no-new'])
      return { error: { code: -32603, message: 'no new sessions', data: { errorKind: 'stub' } } };
    const sessionId = params._meta?.['qwen-code/sessionId'] ?? randomUUID();
    if (flags.memory !== undefined) appendFileSync(memoryOf(sessionId), '');
    return { result: { sessionId, ...open(sessionId, params.cwd) } };
  },
  'session/load': (_id, params) => bringBack(params, true),
  'session/resume': (_id, params) => bringBack(params, false),
  'session/set_model': (_id, params) =>
    scripted('session/set_model', params, (session) => {
      session.model = params.modelId;
      if (hasExtensions) notify(params.sessionId, 'model-update', { currentModelId: params.modelId });
      return {};
    }),
  'session/set_mode': (_id, params) =>
    scripted('session/set_mode', params, (session) => {
      session.mode = params.modeId;
      return {};
    }),
  'session/cancel': (_id, params) => cancel(params.sessionId),
  'session/prompt': prompt,
  'stub/state': () => ({ result: { calls, sessions: [...sessions.keys()], pid: process.pid } }),
};

const EXTENSIONS = {
  'qwen/status/session/context': (_id, params) =>
    scripted('qwen/status/session/context', params, (session) => ({
      v: 1,
      sessionId: params.sessionId,
      workspaceCwd: process.cwd(),
      state: stateOf(session),
    })),
  'qwen/control/session/approval_mode': (_id, params) =>
    scripted('qwen/control/session/approval_mode', params, (session) => {
      const previous = session.mode ?? modes.currentModeId;
      session.mode = params.planMode === true ? 'plan' : params.mode;
      return {
        previous,
        current: session.mode,
        ...(params.planMode ? { planExecutionMode: params.mode } : {}),
      };
    }),
  'qwen/settings/setCoreValue': () => ({ result: {} }),
  'craft/cancelPendingPrompt': (_id, params) => {
    cancel(params.sessionId);
    return { result: { cancelled: true } };
  },
  'qwen/control/session/close': (_id, params) => ({
    result: { sessionId: params.sessionId, closed: sessions.delete(params.sessionId) },
  }),
};

const TRANSCRIPTS = {
  'qwen/status/session/transcript': (_id, params) => transcriptPage(params),
};

const LISTS = {
  'session/list': (_id, params) => ({ result: listPage(params) }),
  ...(flags.list === 'standard' ? { 'session/delete': (_id, params) => deleteMemory(params) } : {}),
  ...(flags.list === 'own' ? { deleteSession: (_id, params) => deleteMemory(params) } : {}),
};

async function handle({ id, method, params = {}, result, error }) {
  if (method === undefined) {
    asked.get(id)?.(error === undefined ? { result } : { error });
    asked.delete(id);
    return;
  }
  calls[method] = (calls[method] ?? 0) + 1;
  const run =
    METHODS[method] ??
    (hasExtensions ? EXTENSIONS[method] : undefined) ??
    (keepsTranscripts ? TRANSCRIPTS[method] : undefined) ??
    (flags.list === undefined ? undefined : LISTS[method]);
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
