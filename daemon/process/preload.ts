// Loads modules and files ahead of the first request that needs them.
import { preloadLink } from '../agent/link.ts';
import type { ApiDocument } from '../contract/api-document.ts';
import type { Log } from '../contract/log.ts';

/** Never fails: a module or file that could not be loaded is loaded when it is needed. */
export function preload(apiDocument: ApiDocument, log: Log): void {
  const link = preloadLink().catch((error: unknown) =>
    log.error({ err: error }, 'cannot load the agent link'),
  );
  const document = apiDocument
    .bytes()
    .catch((error: unknown) => log.warn({ err: error }, 'cannot load the API description'));
  void Promise.all([link, document]).then(() => log.debug('modules loaded'));
}
