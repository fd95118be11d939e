// Every flag of `qwen-coordinator start`: the command line, the variables and the help are made from these tables.
import { DEFAULT_AGENT } from '../daemon/contract/command-line.ts';
import { choicesOf } from '../daemon/contract/flag-values.ts';
import { LIMIT_NAMES, LIMITS } from '../daemon/contract/limits.ts';
import { DEFAULT_LOG_LEVEL, LOG_LEVELS } from '../daemon/contract/log.ts';
import { DEFAULT_PERMISSION_POLICY, PERMISSION_POLICIES } from '../daemon/contract/wire.ts';
import { RESTARTS, type SettingSpec, SUPERVISION } from './supervise/settings.ts';

/** Headings of `--help`, in the order in which they are shown. */
export type FlagGroup =
  | 'Listener'
  | 'Access'
  | 'Workspaces and agents'
  | 'State and logs'
  | 'Daemons: start, stop and supervision'
  | 'Limits of each daemon';

export interface FlagSpec {
  readonly group: FlagGroup;
  /** Placeholder of the flag's value in the help; absent for a switch. */
  readonly value?: string;
  readonly isRepeatable?: boolean;
  /** Separates the values in the variable of a repeatable flag; by default the separator of PATH. */
  readonly separator?: string;
  readonly help: string;
}

export const FLAGS = {
  host: { group: 'Listener', value: 'HOST', help: 'address to bind (127.0.0.1)' },
  port: { group: 'Listener', value: 'N', help: 'TCP port (4170); 0 picks a free one' },
  socket: { group: 'Listener', value: 'PATH', help: 'listen on a unix socket instead' },
  token: { group: 'Access', value: 'TOKEN', help: 'bearer that clients must send (or QWEN_SERVER_TOKEN)' },
  'require-auth': { group: 'Access', help: 'require the bearer on loopback and for /health too' },
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
    help: 'proxy whose X-Forwarded-For is trusted; "unix" for peers on a unix socket; repeatable',
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
    help: `"${DEFAULT_AGENT}" (default), "demo", or a command line`,
  },
  'daemon-command': {
    group: 'Workspaces and agents',
    value: 'COMMAND',
    help: "program and first arguments of a daemon of another version (this package's own)",
  },
  'permission-policy': {
    group: 'Workspaces and agents',
    value: 'POLICY',
    help: `who decides permission questions: ${choicesOf(PERMISSION_POLICIES, DEFAULT_PERMISSION_POLICY)}`,
  },
  'consensus-quorum': {
    group: 'Workspaces and agents',
    value: 'N',
    help: 'votes that decide under the consensus policy (a majority)',
  },
  'without-cgroups': {
    group: 'Workspaces and agents',
    help: 'never give daemons their own cgroups',
  },
  'state-dir': { group: 'State and logs', value: 'DIR', help: 'where the database and the logs are kept' },
  'log-level': {
    group: 'State and logs',
    value: 'LEVEL',
    help: choicesOf(LOG_LEVELS, DEFAULT_LOG_LEVEL),
  },
  'max-log-bytes': {
    group: 'State and logs',
    value: 'BYTES',
    help: 'size at which a daemon log is rotated (16 MiB)',
  },
  'retention-days': {
    group: 'State and logs',
    value: 'DAYS',
    help: 'age at which closed sessions, settled prompts, ended daemons and events are deleted (30)',
  },
  'max-closed-sessions': {
    group: 'State and logs',
    value: 'N',
    help: 'closed sessions to keep, the newest (100000)',
  },
  'stop-timeout-ms': {
    group: 'Daemons: start, stop and supervision',
    value: 'MS',
    help: 'time for an orderly stop of the whole fleet (30000)',
  },
} as const satisfies Record<string, FlagSpec>;

export type FlagName = keyof typeof FLAGS;

export interface NumberFlag {
  readonly group: FlagGroup;
  readonly flag: string;
  /** Placeholder of the flag's value in the help, which is the value's unit. */
  readonly value: 'N' | 'MS' | 'BYTES';
  readonly fallback: number;
  readonly help: string;
}

/** The flag, without dashes, of a setting in `SUPERVISION`: `stop-grace-ms` for `stopGraceMs`. */
export function settingFlag(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The flag, without dashes, of a setting in `RESTARTS`: `restart-max-backoff-ms` for `maxBackoffMs`. */
export function restartFlag(key: string): string {
  return `restart-${settingFlag(key)}`;
}

/** One flag for each setting in `SUPERVISION` and `RESTARTS`. */
export const SUPERVISION_FLAGS: readonly NumberFlag[] = [
  ...numberFlags(SUPERVISION, settingFlag),
  ...numberFlags(RESTARTS, restartFlag),
];

function numberFlags(
  table: Readonly<Record<string, SettingSpec>>,
  flagOf: (key: string) => string,
): NumberFlag[] {
  return Object.entries(table).map(([key, { fallback, help }]) => {
    const value = key.endsWith('Ms') ? 'MS' : key.endsWith('Bytes') ? 'BYTES' : 'N';
    return { group: 'Daemons: start, stop and supervision', flag: flagOf(key), value, fallback, help };
  });
}

const PLACEHOLDERS = { count: 'N', ms: 'MS', bytes: 'BYTES' } as const;

/** One flag for each limit of a daemon; the coordinator passes the limits on to its daemons. */
export const LIMIT_FLAGS: readonly NumberFlag[] = LIMIT_NAMES.map((name) => {
  const { flag, unit, fallback, help } = LIMITS[name];
  return { group: 'Limits of each daemon', flag, value: PLACEHOLDERS[unit], fallback, help };
});

/** The environment variable of a flag: `QWEN_COORDINATOR_STATE_DIR` for `state-dir`. */
export function flagVariable(flag: string): string {
  return `QWEN_COORDINATOR_${flag.toUpperCase().replaceAll('-', '_')}`;
}
