// POST /admin/backup: copies the database into a file of this host. On the admin socket only: a client that can open the socket
// is the user whose files are written, while a bearer on the listener does not say which user its client is.
import { isAbsolute } from 'node:path';
import type Router from '@koa/router';
import type { Clock } from '../../../daemon/contract/clock.ts';
import { fail } from '../../../daemon/contract/errors.ts';
import { readJsonBody } from '../../../daemon/contract/json-body.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { Store } from '../../store/store.ts';

export interface BackupDeps {
  readonly store: Pick<Store, 'backup'>;
  readonly clock: Clock;
  readonly log: Log;
}

const MAX_BODY_BYTES = 64 * 1024;

export function addBackup(router: Router, { store, clock, log }: BackupDeps): void {
  router.post('/backup', async (ctx) => {
    const { file } = await readJsonBody(ctx.req, MAX_BODY_BYTES);
    if (typeof file !== 'string' || !isAbsolute(file) || file.includes('\0'))
      throw fail('invalid_request', '`file` must be an absolute path');
    const beganAtMs = clock.monotonicMs();
    const facts = await store.backup(file);
    const ms = Math.round(clock.monotonicMs() - beganAtMs);
    log.info({ ...facts, ms }, 'database backed up');
    ctx.body = { ...facts, ms };
  });
}
