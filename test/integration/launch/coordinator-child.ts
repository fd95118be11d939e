// Child of adopt.test.ts: a coordinator that starts one daemon, says its handle, and waits to be killed.
import { createProcessLauncher } from '../../../coordinator/launch/process.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';
import { createLog } from '../../../daemon/contract/log.ts';

const { options, spec } = JSON.parse(process.argv[2] ?? '');
const launcher = createProcessLauncher({
  ...options,
  clock: systemClock,
  log: createLog('child', 'silent'),
});
const { process: daemon, ready } = launcher.start(launcher.plan(spec), spec);
await ready;
process.stdout.write(`${daemon.handle}\n`);
setInterval(() => undefined, 1000);
