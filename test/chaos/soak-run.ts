// The soak: random faults, one or two at a time, while clients stream. What may never be seen is looked for all the time;
// what has to come true again is waited for after every fault.
import { endFleets } from '../support/fleet-process.ts';
import { FAULTS, type Fault, Ordeal, type Totals } from '../support/ordeal.ts';
import { seeded } from '../support/seeded.ts';

export interface SoakPlan {
  readonly minutes: number;
  readonly seed: number;
  readonly clients: number;
  readonly workspaces: number;
}

type Print = (line: string) => void;

/** Turns as clients have them: short and long, a question, and now and then something that leaves children behind. */
const TURNS = ['N:20:50:2', 'N:20:50:2', 'N:200:80:1', 'hello', 'permission', 'sleep:150', 'N:400:2000'];
const CHILDREN = 'child ; setsid-child ; N:20:50:5';
/** Share of the turns that start processes of their own; each costs a second of the machine. */
const CHILDREN_SHARE = 0.02;
const WATCH_PERIOD_MS = 250;
/** Share of faults that are followed by another before the first is over. */
const DOUBLE_SHARE = 0.3;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Ends every process of the soak, whatever it is at. */
export const abandon = endFleets;

/** @returns whether nothing was violated. */
export async function soak(plan: SoakPlan, print: Print): Promise<boolean> {
  print(
    `soak: ${plan.minutes} min, seed ${plan.seed}, ${plan.clients} clients in ${plan.workspaces} workspaces`,
  );
  const ordeal = new Ordeal({ workspaces: plan.workspaces, random: seeded(plan.seed) });
  const recoveries = new Map<string, number[]>();
  try {
    await ordeal.start();
    for (let index = 0; index < plan.clients; index += 1)
      ordeal
        .witness(index % plan.workspaces)
        .start(() => (ordeal.random() < CHILDREN_SHARE ? CHILDREN : ordeal.pick(TURNS)));
    await ordeal.recovered('the start', 0);
    const watch = watchForTwins(ordeal);
    await faults(ordeal, plan, recoveries, print);
    await watch.stop();
    const totals = await ordeal.judge();
    await ordeal.end();
    report(recoveries, totals, ordeal.violations, print);
  } finally {
    await endFleets();
  }
  return ordeal.violations.length === 0;
}

async function faults(
  ordeal: Ordeal,
  { minutes }: SoakPlan,
  recoveries: Map<string, number[]>,
  print: Print,
): Promise<void> {
  const deadline = performance.now() + minutes * 60_000;
  while (performance.now() < deadline) {
    await sleep(100 + ordeal.random() * 1500);
    const names: Fault[] = [ordeal.pick(FAULTS)];
    let atMs = await ordeal.fault(names[0] as Fault);
    if (ordeal.random() < DOUBLE_SHARE) {
      const second = ordeal.pick(FAULTS);
      names.push(second);
      await sleep(ordeal.random() * 600);
      atMs = await ordeal.fault(second);
    }
    const what = names.join(', then ');
    const before = ordeal.violations.length;
    const ms = await ordeal.recovered(what, atMs);
    const row = names.length === 1 ? what : 'two of them, the second before the first is over';
    recoveries.set(row, [...(recoveries.get(row) ?? []), ms]);
    for (const words of ordeal.violations.slice(before)) print(`VIOLATION ${words}`);
  }
}

/** Two looks in a row: a process that was just killed is seen for some microseconds more. */
function watchForTwins(ordeal: Ordeal) {
  let seen = new Set<string>();
  let isOn = true;
  const loop = (async () => {
    while (isOn) {
      const twins = ordeal.twins();
      for (const pair of twins) if (seen.has(pair)) ordeal.violations.push(`two daemons of ${pair}`);
      seen = new Set(twins);
      await sleep(WATCH_PERIOD_MS);
    }
  })();
  return {
    stop: () => {
      isOn = false;
      return loop;
    },
  };
}

function report(
  recoveries: ReadonlyMap<string, readonly number[]>,
  totals: Totals,
  violations: readonly string[],
  print: Print,
): void {
  const all = [...recoveries.values()].flat();
  print('');
  print('| fault | times | recovery p50 ms | p99 ms | longest ms |');
  print('|---|---|---|---|---|');
  for (const [fault, each] of [...recoveries].sort(([a], [b]) => a.localeCompare(b)))
    print(line(fault, each));
  print(line('all', all));
  print('');
  print('| prompts acknowledged | completed | reported | told by the store alone | lost |');
  print('|---|---|---|---|---|');
  const { acknowledged, completed, reported, storedOnly, lost } = totals;
  print(`| ${acknowledged} | ${completed} | ${reported} | ${storedOnly} | ${lost} |`);
  print('');
  const orphans = violations.filter((words) => /orphan|left behind/.test(words)).length;
  print(`sessions replaced: ${replacedIn(totals)}`);
  print(`sessions acknowledged: ${totals.sessions}; orphans: ${orphans}; violations: ${violations.length}`);
  for (const words of violations) print(`VIOLATION ${words}`);
}

/** How many sessions were over while their client wanted to go on, by reason. */
function replacedIn({ replaced }: Totals): string {
  const byReason = new Map<string, number>();
  for (const { reason } of replaced) byReason.set(reason, (byReason.get(reason) ?? 0) + 1);
  return `${replaced.length}${[...byReason].map(([reason, count]) => `; ${reason}: ${count}`).join('')}`;
}

function line(name: string, each: readonly number[]): string {
  const sorted = [...each].sort((a, b) => a - b);
  const at = (share: number) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  return `| ${name} | ${each.length} | ${at(0.5)} | ${at(0.99)} | ${at(1)} |`;
}
