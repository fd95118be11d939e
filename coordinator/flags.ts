// Every flag of `qwen-coordinator start`, once: the command line, the environment and the help are made from these tables.
import { LIMIT_NAMES, LIMITS } from '../daemon/contract/limits.ts';
import type { RestartPolicy } from './domain/restart-policy.ts';
import { DEFAULT_SUPERVISE_SETTINGS, type SuperviseSettings } from './supervise/settings.ts';

/** Headings of the help, in its order. */
export type FlagGroup = 'Listener' | 'Access' | 'Workspaces and agents' | 'State and logs';

export interface FlagSpec {
  readonly group: FlagGroup;
  /** Placeholder of the value; absent for a switch. */
  readonly value?: string;
  readonly isRepeatable?: boolean;
  /** Between the items of a repeatable flag's variable; default: as in PATH. */
  readonly separator?: string;
  readonly help: string;
}

export const FLAGS = {
  host: { group: 'Listener', value: 'HOST', help: 'address to bind (127.0.0.1)' },
  port: { group: 'Listener', value: 'N', help: 'TCP port (4170); 0 picks a free one' },
  socket: { group: 'Listener', value: 'PATH', help: 'listen on a unix socket instead' },
  token: { group: 'Access', value: 'TOKEN', help: 'bearer that clients must send (or QWEN_SERVER_TOKEN)' },
  'require-auth': { group: 'Access', help: 'bearer on loopback too, also for /health' },
  'allow-origin': {
    group: 'Access',
    value: 'ORIGIN',
    isRepeatable: true,
    separator: ',',
    help: 'browser origin that may call, "*" for any; repeatable',
  },
  'trusted-proxy': {
    group: 'Access',
    value: 'ADDRESS',
    isRepeatable: true,
    separator: ',',
    help: 'proxy whose X-Forwarded-For is believed; "unix" for peers on a unix socket; repeatable',
  },
  'rate-limit': { group: 'Access', help: 'limit requests per client; see the rate-limit-* numbers' },
  workspace: {
    group: 'Workspaces and agents',
    value: 'DIR',
    isRepeatable: true,
    help: 'workspace to serve; the first is the primary one; repeatable',
  },
  root: {
    group: 'Workspaces and agents',
    value: 'DIR',
    isRepeatable: true,
    help: 'workspaces under it are opened on first demand; repeatable',
  },
  agent: {
    group: 'Workspaces and agents',
    value: 'AGENT',
    help: '"qwen" (default), "demo", or a command line',
  },
  'daemon-command': {
    group: 'Workspaces and agents',
    value: 'COMMAND',
    help: 'program and first arguments of a daemon, for a version in a directory of its own (that of this package)',
  },
  'permission-policy': {
    group: 'Workspaces and agents',
    value: 'POLICY',
    help: 'who decides permission questions: first-responder (default), designated, consensus, local-only',
  },
  'consensus-quorum': {
    group: 'Workspaces and agents',
    value: 'N',
    help: 'votes that decide under the consensus policy (a majority)',
  },
  'without-cgroups': {
    group: 'Workspaces and agents',
    help: 'never give daemons control groups of their own',
  },
  'state-dir': { group: 'State and logs', value: 'DIR', help: 'where the database and the logs are kept' },
  'log-level': {
    group: 'State and logs',
    value: 'LEVEL',
    help: 'trace, debug, info (default), warn, error, fatal, silent',
  },
  'max-log-bytes': {
    group: 'State and logs',
    value: 'BYTES',
    help: 'size at which a daemon log is rotated (16 MiB)',
  },
  'retention-days': {
    group: 'State and logs',
    value: 'DAYS',
    help: 'age at which closed sessions, settled prompts, ended daemons and events are forgotten (30)',
  },
  'max-closed-sessions': {
    group: 'State and logs',
    value: 'N',
    help: 'closed sessions that are remembered, the newest (100000)',
  },
  'stop-timeout-ms': { group: 'State and logs', value: 'MS', help: 'time for an orderly stop (30000)' },
} as const satisfies Record<string, FlagSpec>;

export type FlagName = keyof typeof FLAGS;

export interface NumberFlag {
  readonly flag: string;
  /** Placeholder of the value: what it counts. */
  readonly value: 'N' | 'MS' | 'BYTES';
  readonly fallback: number;
  readonly help: string;
}

type NumberKey<T> = { [K in keyof T]-?: T[K] extends number ? K : never }[keyof T];

/** What each number of supervision means to an operator; the reasons stand in supervise/settings.ts. */
const SUPERVISION_HELP: Readonly<Record<NumberKey<SuperviseSettings>, string>> = {
  maxDaemons: 'daemons that may run at once; 0 = unlimited',
  maxConcurrentStarts: 'daemons that may be starting at the same time',
  startTimeoutMs: 'from the spawn of a daemon until it answers',
  feedReadyTimeoutMs: 'from its answer until its sessions are known',
  waiterDeadlineMs: 'how long a request waits for its daemon',
  maxWaiters: 'requests that may wait for one daemon',
  idleTimeoutMs: 'a daemon without a gesture for this long is stopped; 0 = never',
  watchedIdleTimeoutMs: 'the same while clients look on (streams, heartbeats)',
  idleCheckPeriodMs: 'how often idle daemons are looked for',
  drainTimeoutMs: 'how long a stopping daemon waits for its turns to end',
  stopGraceMs: 'from SIGTERM to SIGKILL; longer than shutdown-grace-ms',
  restoreConcurrency: 'sessions of one workspace that are brought back at the same time',
  restoreTimeoutMs: 'longest restore of one session; longer than session-restore-timeout-ms',
  restoreWaitMs: 'how long requests wait for a session that is being brought back',
  feedReconnectMs: "first wait before a daemon's feed is asked for again; doubles up to 16 times this",
  feedMaxLineBytes: 'longest line of a feed; a snapshot needs some 400 bytes a session',
  feedStoredWaitMs: 'how long an answer is held until its session is stored from the feed',
  seenFlushMs: 'how often heartbeats are written; they may lose this much',
  seenBatchRows: 'heartbeats written in one transaction',
  beatTimeoutFactor: 'beats that may be missing before a daemon is asked whether it lives',
  livenessPeriodMs: 'how often missing beats are looked for',
  probeTimeoutMs: 'time for the answer of a daemon that is asked whether it lives',
  adoptTimeoutMs: 'time to find one daemon of an earlier coordinator again',
  reconcilePeriodMs: 'how often daemons that are not proven to be ours are looked at again',
  logRotatePeriodMs: 'how often log sizes are looked at',
  storeUpkeepPeriodMs: 'how often the database forgets what is too old, and empties its log',
};

/** Of the restart policy all but its jitter, which is a share and no whole number. */
const RESTART_HELP: Readonly<Record<Exclude<NumberKey<RestartPolicy>, 'jitter'>, string>> = {
  intensity: 'deaths within restart-period-ms that are still followed by a new start',
  periodMs: 'period in which deaths are counted',
  firstBackoffMs: 'wait after the first death; doubles with every further one',
  maxBackoffMs: 'longest wait after a death',
  coolOffMs: 'how long a workspace refuses after too many deaths',
};

export interface SupervisionFlag extends NumberFlag {
  /** The setting's name in `SuperviseSettings`, or in its `restart`. */
  readonly key: string;
  readonly isRestart: boolean;
}

/** One flag for every whole number of supervision, named after its setting. */
export const SUPERVISION_FLAGS: readonly SupervisionFlag[] = [
  ...supervisionFlags(SUPERVISION_HELP, DEFAULT_SUPERVISE_SETTINGS, false),
  ...supervisionFlags(RESTART_HELP, DEFAULT_SUPERVISE_SETTINGS.restart, true),
];

function supervisionFlags<K extends string>(
  texts: Readonly<Record<K, string>>,
  defaults: Readonly<Record<K, number>>,
  isRestart: boolean,
): SupervisionFlag[] {
  return (Object.keys(texts) as K[]).map((key) => {
    const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const value = key.endsWith('Ms') ? 'MS' : key.endsWith('Bytes') ? 'BYTES' : 'N';
    const flag = isRestart ? `restart-${name}` : name;
    return { flag, value, key, isRestart, fallback: defaults[key], help: texts[key] };
  });
}

const PLACEHOLDERS = { count: 'N', ms: 'MS', bytes: 'BYTES' } as const;

/** Limits of each daemon, passed on to it. */
export const LIMIT_FLAGS: readonly NumberFlag[] = LIMIT_NAMES.map((name) => {
  const { flag, unit, fallback, help } = LIMITS[name];
  return { flag, value: PLACEHOLDERS[unit], fallback, help };
});

/** The environment variable of a flag. */
export function flagVariable(flag: string): string {
  return `QWEN_COORDINATOR_${flag.toUpperCase().replaceAll('-', '_')}`;
}
