// Loads the agent SDK and the API description some time after the start, so that the first request need not wait for them.
import { preloadLink } from '../agent/link.ts';
import type { ApiDocument } from '../contract/api-document.ts';
import type { Log } from '../contract/log.ts';

/** Starts loading, and returns at once. Never fails: a request that needs what could not be loaded loads it again. */
export function preload(apiDocument: ApiDocument, log: Log): void {
  const link = preloadLink().catch((error: unknown) =>
    log.error({ err: error }, 'cannot load the agent link'),
  );
  const document = apiDocument
    .bytes()
    .catch((error: unknown) => log.warn({ err: error }, 'cannot load the API description'));
  void Promise.all([link, document]).then(() => log.debug('modules loaded'));
}
