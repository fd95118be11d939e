// Processes that try to get away from whoever started them, in every combination of the known ways.

export interface Escape {
  /** What it does, as in "setsid, parent killed, environment cleared". */
  readonly name: string;
  /**
   * Left its session, its parent and its environment before anybody looked: no entry of the process table leads to it
   * any more. Only a cgroup knows it.
   */
  readonly isHidden: boolean;
  /** As `isHidden`, but its parent is alive: the parent's death before anybody looks hides it too. */
  readonly isHiddenWithParent: boolean;
  /** Shell words that start it in the background. */
  readonly command: string;
}

const PARENTS = ['parent stays', 'parent exits', 'parent killed'] as const;

/** All of them. Each says `child PID NAME` on its stdout once it has got away, and then sleeps. */
export const ESCAPES: readonly Escape[] = PARENTS.flatMap((parent) =>
  combinations(['setsid', 'environment cleared', 'argv changed']).map((ways) => escapeBy(parent, ways)),
);

const START_ALL = `
  echo child $$ agent
  ${ESCAPES.map(({ command }) => command).join('\n  ')}
  sleep 0.2
  echo agent is up`;

/** A shell script that starts every escape, says `agent is up` when all have begun, and stays. */
export const ESCAPING_AGENT = `${START_ALL}\n  wait\n  sleep 600`;

/** The same for a shell that then becomes `agent`; what is said goes to the file `log`. */
export function escapingAgent(agent: string, log: string): string {
  return `{ ${START_ALL}\n} > '${log}' 2>&1 < /dev/null\nexec ${agent}\n`;
}

function escapeBy(parent: (typeof PARENTS)[number], ways: readonly string[]): Escape {
  const name = [...ways, parent].join(', ');
  const argv = ways.includes('argv changed') ? '-a kworker/7' : '';
  const session = ways.includes('setsid') ? 'setsid ' : '';
  const environment = ways.includes('environment cleared') ? 'env -i ' : '';
  const runs = `${environment}${session}bash -c 'echo child $$ ${name}; exec ${argv} sleep 600' &`;
  const commands = {
    'parent stays': runs,
    'parent exits': `(${runs})`,
    'parent killed': `sh -c "${runs.replaceAll('$', '\\$')} kill -9 \\$\\$"`,
  };
  const hasLeft = ways.includes('setsid') && ways.includes('environment cleared');
  return {
    name,
    isHidden: hasLeft && parent !== 'parent stays',
    isHiddenWithParent: hasLeft && parent === 'parent stays',
    command: commands[parent],
  };
}

function combinations<T>(items: readonly T[]): T[][] {
  const [first, ...rest] = items;
  if (first === undefined) return [[]];
  return combinations(rest).flatMap((some) => [some, [first, ...some]]);
}

/** Name to pid of everything that has said where it is. */
export function escapedIn(log: string): Map<string, number> {
  return new Map([...log.matchAll(/^child (\d+) (.+)$/gm)].map(([, pid, name]) => [name ?? '', Number(pid)]));
}
