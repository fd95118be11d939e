// Child of crash.test.ts: writes sessions, prompts and events as fast as it can, and says each one that was acknowledged.
import { writeSync } from 'node:fs';
import { acquireStateLock } from '../../../coordinator/store/lock.ts';
import { openStore } from '../../../coordinator/store/open.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';
import { createLog } from '../../../daemon/contract/log.ts';

const [dir = '', role = ''] = process.argv.slice(2);
const workspaceId = '0123456789abcdef';

acquireStateLock(dir, { pid: process.pid });
writeSync(1, 'locked\n');
if (role === 'write') writeForEver();
setInterval(() => undefined, 1000);

function writeForEver(): void {
  const store = openStore({ path: `${dir}/state.db`, clock: systemClock, log: createLog('child', 'silent') });
  const incarnation = store.daemons.nextIncarnation(workspaceId);
  store.daemons.insertStarting({
    incarnation,
    workspaceId,
    launchHandle: '{"kind":"test","version":1}',
    secret: 's',
    createdAtMs: 1,
    startDeadlineAtMs: 2,
  });
  for (let n = 0; ; n++) {
    const sessionId = `${incarnation}/${n}`;
    const times = { createdAtMs: n, lastSeenAtMs: n };
    const clients = [{ clientId: 'c', count: 1, lastSeenAtMs: n }];
    store.sessions.record(workspaceId, incarnation, {
      sessionId,
      workspaceCwd: '/p',
      ...times,
      clients,
      isDefault: false,
      eventHead: 0,
    });
    store.prompts.record({ promptId: `p/${sessionId}`, sessionId, state: 'queued', atMs: n });
    writeSync(1, `${sessionId}\n`);
  }
}
