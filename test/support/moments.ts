// The moments of a daemon's life at which something may be killed, each with the way to get there, and the blow itself.
import { eventually } from './eventually.ts';
import { Ordeal, type Totals, VICTIMS, type Victim } from './ordeal.ts';
import type { HoldingPoint } from './paused-daemon.ts';
import { rowsOf } from './state-database.ts';
import type { Witness } from './witness.ts';

export interface Moment {
  readonly name: string;
  readonly switches?: readonly string[];
  readonly flags?: readonly string[];
  /** Who lives at that moment; default: all three. */
  readonly victims?: readonly Victim[];
  /** Where daemons are held until the blow has fallen. */
  readonly holdAt?: HoldingPoint;
  readonly arrive: (ordeal: Ordeal, witness: Witness) => Promise<unknown>;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const stateIs = (ordeal: Ordeal, state: string) =>
  eventually(`the state ${state}`, async () => (await ordeal.server.diagnosis(0)).state === state);

/** What the log of a coordinator says when it begins to look for a daemon of the one before it. */
const LOOKING = 'it is still being located';

/** It opens its listener first, but says so only when it has found, or given up, every daemon. */
async function adopting(ordeal: Ordeal): Promise<void> {
  const { server } = ordeal;
  await eventually('the search for the daemon', () => server.stderr.includes(LOOKING));
  if (server.stderr.includes('listening on')) throw new Error('the adoption was over before the blow');
}

const promptIs = (ordeal: Ordeal, state: string) =>
  eventually(`a ${state} prompt`, () =>
    rowsOf(ordeal.scratch.stateDir, 'SELECT * FROM prompts WHERE state = ?', state).at(0),
  );

export const MOMENTS: readonly Moment[] = [
  {
    name: 'at the start',
    arrive: async (ordeal, witness) => {
      void witness.open();
      await sleep(ordeal.random() * 80);
    },
  },
  {
    name: 'before the daemon reads its handshake',
    holdAt: 'unread',
    victims: ['coordinator', 'daemon'],
    arrive: async ({ hold }, witness) => {
      void witness.open();
      await hold?.reached();
    },
  },
  {
    name: 'before the daemon answers its handshake',
    holdAt: 'unanswered',
    victims: ['coordinator', 'daemon'],
    arrive: async ({ hold }, witness) => {
      void witness.open();
      await hold?.reached();
    },
  },
  {
    name: "in the agent's handshake",
    switches: ['--slow-init', '500'],
    arrive: async (ordeal, witness) => {
      void witness.open();
      await eventually('the agent', () => ordeal.agents().length === 1);
    },
  },
  { name: 'when ready', arrive: (_ordeal, witness) => witness.turn('hello') },
  {
    name: 'in a prompt',
    arrive: async (ordeal, witness) => {
      await witness.send('N:800:50:1');
      await witness.send('behind it');
      await promptIs(ordeal, 'running');
    },
  },
  {
    name: 'with a permission question open',
    arrive: async (_ordeal, witness) => {
      witness.holdsVotes = true;
      await witness.send('permission ; done');
      await eventually('the question', () => witness.questions.length === 1);
    },
  },
  {
    name: 'while draining',
    flags: ['--drain-timeout-ms', '4000'],
    arrive: async (ordeal, witness) => {
      await witness.send('sleep:800');
      await promptIs(ordeal, 'running');
      ordeal.server.signal('SIGTERM');
      await eventually('the stop', () => ordeal.server.stderr.includes('stopping'));
    },
  },
  {
    name: 'while stopping',
    switches: ['--ignore-term'],
    arrive: async (ordeal, witness) => {
      await witness.turn('hello');
      ordeal.server.signal('SIGTERM');
      await eventually('the stop', () => ordeal.server.stderr.includes('stopping'));
      await sleep(100 + ordeal.random() * 200);
    },
  },
  {
    name: 'in backoff',
    flags: ['--restart-first-backoff-ms', '1500', '--restart-max-backoff-ms', '1500'],
    victims: ['coordinator'],
    arrive: async (ordeal, witness) => {
      await witness.turn('hello');
      await ordeal.kill('daemon');
      await stateIs(ordeal, 'backoff');
    },
  },
  {
    name: 'while adopting',
    arrive: async (ordeal, witness) => {
      await witness.turn('hello');
      await ordeal.kill('coordinator');
      // It cannot say who it is: whoever adopts it waits for that.
      ordeal.signalDaemons('SIGSTOP');
      ordeal.begin();
      await adopting(ordeal);
    },
  },
  {
    name: 'while restoring',
    switches: ['--slow-load', '700'],
    arrive: async (ordeal, witness) => {
      await witness.turn('hello');
      await ordeal.kill('daemon');
      await eventually('a session on its way back', () =>
        rowsOf(ordeal.scratch.stateDir, "SELECT * FROM sessions WHERE state = 'restoring'").at(0),
      );
      await stateIs(ordeal, 'ready');
    },
  },
];

/** Every moment with everyone who lives then. */
export const BLOWS: readonly { readonly moment: Moment; readonly victim: Victim; readonly name: string }[] =
  MOMENTS.flatMap((moment) =>
    (moment.victims ?? VICTIMS).map((victim) => ({ moment, victim, name: `${victim} ${moment.name}` })),
  );

export interface Outcome {
  readonly totals: Totals;
  readonly violations: readonly string[];
  /** From the blow until a turn that was asked for after it was completed. */
  readonly recoveryMs: number;
}

/** One fresh fleet, one client, one kill -9, and what is true afterwards. */
export async function strike(moment: Moment, victim: Victim, random: () => number): Promise<Outcome> {
  const { switches = [], flags = [], holdAt } = moment;
  const ordeal = new Ordeal({ random, switches, flags, ...(holdAt !== undefined && { holdAt }) });
  await ordeal.start();
  const witness = ordeal.witness();
  witness.listen();
  await moment.arrive(ordeal, witness);
  const atMs = performance.now();
  const isEnding = ordeal.server.stderr.includes('stopping');
  await ordeal.kill(victim);
  ordeal.hold?.release();
  ordeal.signalDaemons('SIGCONT');
  if (isEnding) await ordeal.server.ended();
  await (ordeal.server.exit === undefined ? ordeal.server.up() : ordeal.start());
  await witness.voteNow();
  witness.start(() => 'hello');
  const recoveryMs = await ordeal.recovered(`${victim} ${moment.name}`, atMs);
  const totals = await ordeal.judge();
  await ordeal.end();
  return { totals, violations: ordeal.violations, recoveryMs };
}
