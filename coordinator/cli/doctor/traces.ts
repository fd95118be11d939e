// The checks of `doctor` for what coordinators and daemons may have left behind: daemons, sockets, processes.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isAnswered } from '../../../daemon/contract/unix-socket.ts';
import { ADMIN_SOCKET } from '../../app.ts';
import {
  findStrays,
  type NotedIncarnation,
  runningPids,
  type Strays,
  unreadableHandles,
} from '../../launch/strays.ts';
import type { InspectedDaemon } from '../../store/inspect.ts';
import type { Finding } from './finding.ts';
import type { Scene } from './scene.ts';

/** Warnings about daemons that run, or may run, while no coordinator does. */
export function daemonsCheck({ coordinator, database }: Scene): Finding[] {
  if (coordinator.kind !== 'missing' || database.kind !== 'found') return [];
  const check = 'daemons';
  const daemons = database.value
    .unended()
    .map(({ incarnation, launchHandle: handle }) => ({ incarnation, handle }));
  const findings = [...unreadableHandles(daemons)].map(([incarnation, why]): Finding => {
    return { check, level: 'warn', text: `${incarnation} may run without a coordinator: ${why}` };
  });
  const pids = runningPids(daemons.map(({ handle }) => handle));
  if (pids.length === 0) return findings;
  const text = `${pids.length} run without a coordinator (pids ${pids.join(', ')})`;
  return [{ check, level: 'warn', text, remedy: '"start" takes them over, "sweep" ends them' }, ...findings];
}

/** Looks for socket files on which no process listens, and which no daemon in the database still uses. */
export async function socketsCheck({ runtimeDir, coordinator, database }: Scene): Promise<Finding[]> {
  const check = 'sockets';
  if (runtimeDir.kind !== 'found') return [];
  const noted = database.kind === 'found' ? database.value : undefined;
  const isInUse = (name: string) => {
    if (name === ADMIN_SOCKET) return coordinator.kind !== 'missing';
    const row = noted?.daemon(name.replace(/\.sock$/, ''));
    return row !== undefined && row.state !== 'ended';
  };
  const idle = readdirSync(runtimeDir.value)
    .filter((name) => name.endsWith('.sock') && !isInUse(name))
    .map((name) => join(runtimeDir.value, name));
  const answering = await Promise.all(idle.map(isAnswered));
  const dead = idle.filter((_, at) => !answering[at]);
  if (dead.length === 0) return [{ check, level: 'ok', text: 'none left over' }];
  return [
    { check, level: 'warn', text: `nobody listens on ${dead.join(', ')}`, remedy: `rm ${dead.join(' ')}` },
  ];
}

/** Looks for processes that ended daemons left running. `found` is the argument for `reap`. */
export function straysCheck({ runtimeDir, database, cgroups }: Scene): {
  readonly findings: Finding[];
  readonly found: readonly Strays[];
} {
  const check = 'strays';
  if (database.kind === 'bad' || (database.kind === 'found' && database.value.problems.length > 0))
    return {
      findings: [{ check, level: 'warn', text: 'cannot be determined without the database' }],
      found: [],
    };
  const { strays, unknown } = findStrays({
    runtimeDir: runtimeDir.kind === 'found' ? runtimeDir.value : '',
    cgroups: cgroups.isUsable && runtimeDir.kind === 'found' ? cgroups.cgroups : undefined,
    noted: (incarnation) =>
      database.kind === 'found' ? notedOf(database.value.daemon(incarnation)) : undefined,
  });
  const findings = strays.map(strayFinding);
  if (findings.length === 0) findings.push({ check, level: 'ok', text: 'none' });
  if (unknown.length > 0)
    findings.push({
      check,
      level: 'ok',
      text: `${unknown.length} processes belong to other state directories and were left alone`,
    });
  return { findings, found: strays };
}

function strayFinding({ mark, processes, spared }: Strays): Finding {
  const pids = processes.map(({ pid }) => pid).join(', ');
  const text = `pids ${pids} outlived the daemon ${mark.incarnation}`;
  if (spared === undefined)
    return { check: 'strays', level: 'fail', text, remedy: 'doctor --reap ends them' };
  return { check: 'strays', level: 'warn', text, remedy: `not reaped: ${spared}` };
}

function notedOf(row: InspectedDaemon | undefined): NotedIncarnation | undefined {
  if (row === undefined) return undefined;
  const { incarnation, state, launchHandle: handle } = row;
  return { incarnation, isEnded: state === 'ended', handle };
}
