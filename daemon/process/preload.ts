// Loads in a quiet moment what the first request that needs it would have to wait for.
import { preloadLink } from '../agent/link.ts';
import type { ApiDocument } from '../contract/api-document.ts';
import type { Log } from '../contract/log.ts';

/** Never fails: what could not be loaded is tried again when it is needed. */
export function preload(apiDocument: ApiDocument, log: Log): void {
  const link = preloadLink().catch((error: unknown) =>
    log.error({ err: error }, 'cannot load the agent link'),
  );
  const document = apiDocument
    .bytes()
    .catch((error: unknown) => log.warn({ err: error }, 'cannot load the API description'));
  void Promise.all([link, document]).then(() => log.debug('modules loaded'));
}
