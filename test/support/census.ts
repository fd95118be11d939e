// The processes of one world by what they are, and those that ought not to be: a second daemon of a workspace, an orphan.
import { readFileSync } from 'node:fs';
import type { FoundProcess, Scratch } from './scratch.ts';
import { rowsOf } from './state-database.ts';

/** Living daemons under a coordinator. */
export function daemonsIn(scratch: Scratch): FoundProcess[] {
  return scratch.processes().filter(({ command }) => command.includes('/daemon/main.js --incarnation'));
}

/** Living scripted agents, without what they have started. */
export function agentsIn(scratch: Scratch): FoundProcess[] {
  return scratch.processes().filter(({ command }) => /^\S+ \S+stub-agent\.mjs/.test(command));
}

/** Workspaces that have more than one living daemon at this moment, in words. */
export function twinsIn(scratch: Scratch): string[] {
  const byWorkspace = new Map<string, string[]>();
  for (const { pid } of daemonsIn(scratch)) {
    const incarnation = incarnationOf(pid);
    const row = rowsOf(
      scratch.stateDir,
      'SELECT workspace_id FROM daemons WHERE incarnation = ?',
      incarnation,
    )[0];
    const id = String(row?.workspace_id);
    byWorkspace.set(id, [...(byWorkspace.get(id) ?? []), `${pid} (${incarnation})`]);
  }
  return [...byWorkspace]
    .filter(([, pids]) => pids.length > 1)
    .map(([id, pids]) => `${id}: ${pids.join(', ')}`);
}

/** The twins, and every process of an incarnation whose daemon does not live. */
export function misfitsIn(scratch: Scratch): string[] {
  const living = new Set(daemonsIn(scratch).map(({ pid }) => incarnationOf(pid)));
  const strays = scratch
    .processes()
    .map(({ pid, command }) => ({ pid, command, incarnation: incarnationOf(pid) }))
    .filter(({ incarnation }) => incarnation !== '' && !living.has(incarnation));
  return [...twinsIn(scratch), ...strays.map(({ pid, command }) => `orphan ${pid} ${command}`)];
}

/** The mark of the daemon that the process belongs to; empty where it has none, or is gone. */
export function incarnationOf(pid: number): string {
  try {
    const environ = readFileSync(`/proc/${pid}/environ`, 'utf8');
    const mark = /(?:^|\0)QWEN_COORDINATOR_INCARNATION=([^\0]*)/.exec(environ)?.[1];
    return mark ?? /--incarnation\0([^\0]+)/.exec(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))?.[1] ?? '';
  } catch {
    // It went meanwhile.
    return '';
  }
}
