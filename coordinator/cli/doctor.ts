// `qwen-coordinator doctor`: checks what a coordinator needs, and looks for daemons, sockets and processes that were left behind.
// Works with and without a running coordinator. Changes nothing, except with `--reap`, which ends processes that are proven to be
// left over.
import { systemClock } from '../../daemon/contract/clock.ts';
import { reap, type Strays } from '../launch/strays.ts';
import type { AdminTarget } from './admin-socket.ts';
import {
  agentCheck,
  cgroupCheck,
  coordinatorCheck,
  databaseCheck,
  nodeCheck,
  runtimeDirCheck,
  stateDirCheck,
} from './doctor/checks.ts';
import { driverCheck } from './doctor/driver.ts';
import { type Finding, worstOf } from './doctor/finding.ts';
import { closeScene, openScene, type Scene } from './doctor/scene.ts';
import { daemonsCheck, socketsCheck, straysCheck } from './doctor/traces.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import type { Runtime } from './runtime.ts';

/** How long `--reap` waits for the processes that it has killed to disappear. */
const SWEEP_TIMEOUT_MS = 5000;

export interface DoctorOptions {
  /** Whether `--reap` is given: processes that are proven to be left over are ended. */
  readonly isReaping: boolean;
  readonly isJson: boolean;
  /** The `--agent` setting of this command; while a coordinator runs, the coordinator's setting is checked instead. */
  readonly agent: string;
}

/** Prints a line for each finding. @returns `unexpected` when a check failed, else `ok`. Does not throw for what it finds. */
export async function doctor(
  target: AdminTarget,
  { isReaping, isJson, agent }: DoctorOptions,
  runtime: Runtime,
): Promise<ExitCode> {
  const scene = await openScene(target, runtime);
  try {
    const driver = driverCheck();
    const findings = [
      nodeCheck(process.versions.node),
      driver,
      stateDirCheck(scene),
      runtimeDirCheck(scene),
      // These two checks need the SQLite driver: the database and the coordinator's lock are SQLite files.
      ...(driver.level === 'ok' ? [databaseCheck(scene), coordinatorCheck(scene)] : []),
      cgroupCheck(scene),
      await agentCheck(scene, agent, runtime),
      daemonsCheck(scene),
      await socketsCheck(scene),
      await strays(scene, isReaping, runtime),
    ].flat();
    runtime.print(
      isJson ? `${JSON.stringify({ status: worstOf(findings), findings }, null, 2)}\n` : readable(findings),
    );
    return worstOf(findings) === 'fail' ? EXIT.unexpected : EXIT.ok;
  } finally {
    closeScene(scene);
  }
}

async function strays(scene: Scene, isReaping: boolean, runtime: Runtime): Promise<Finding[]> {
  const { findings, found } = straysCheck(scene);
  const ended = found.filter(({ spared }) => spared === undefined);
  if (!isReaping || ended.length === 0) return findings;
  const count = await reap(ended, {
    clock: systemClock,
    log: runtime.createLog('warn'),
    sweepTimeoutMs: SWEEP_TIMEOUT_MS,
  });
  const left = straysCheck(scene);
  return [{ check: 'reaped', level: 'ok', text: `${count} ${words(ended)}` }, ...left.findings];
}

function words(ended: readonly Strays[]): string {
  return `processes left behind by ended daemons were killed (${ended.map(({ mark }) => mark.incarnation).join(', ')})`;
}

function readable(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  return findings
    .map(({ check, level, text, remedy }) => {
      const toDo = remedy === undefined ? '' : `\n${' '.repeat(6 + width)}-> ${remedy}`;
      return `${level.padEnd(4)}  ${check.padEnd(width)}  ${text}${toDo}\n`;
    })
    .join('');
}
