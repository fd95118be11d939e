// What the agent may call. File calls are answered here, inside the workspace; the rest goes to the sink,
// which answers what it does not know with METHOD_NOT_FOUND.
import type { AgentSink, Params } from './agent.ts';
import type { Incoming } from './stream.ts';
import { readTextFile, writeTextFile } from './workspace-files.ts';

type Callback = (workspace: string, params: Params) => Promise<unknown>;

const CALLBACKS: Readonly<Record<string, Callback>> = {
  'fs/read_text_file': readTextFile,
  'fs/write_text_file': writeTextFile,
};

/** The sink, with the calls of the table answered in front of it. `workspace` is a canonical path. */
export function answerCalls(workspace: string, sink: AgentSink): Incoming {
  return {
    update: (sessionId, params, json) => sink.update(sessionId, params, json),
    notification: (method, params) => sink.notification(method, params),
    request: (method, params) => {
      const callback = Object.hasOwn(CALLBACKS, method) ? CALLBACKS[method] : undefined;
      return callback === undefined ? sink.request(method, params) : callback(workspace, params);
    },
  };
}
