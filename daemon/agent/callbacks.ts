// The requests that an agent makes of the daemon. File requests (`fs/*`) are answered here, inside the workspace; all others go
// to the sink, which answers METHOD_NOT_FOUND to the methods that it does not know.
import type { AgentSink, Params } from './agent.ts';
import type { Incoming } from './stream.ts';
import { readTextFile, writeTextFile } from './workspace-files.ts';

type Callback = (workspace: string, params: Params) => Promise<unknown>;

const CALLBACKS: Readonly<Record<string, Callback>> = {
  'fs/read_text_file': readTextFile,
  'fs/write_text_file': writeTextFile,
};

/**
 * Wraps the sink: the file requests of `CALLBACKS` are answered directly, everything else is passed on to the sink.
 * @param workspace a canonical path.
 */
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
