// Every flag of `qwen-coordinator start`, once: the command line, the environment and the help are made from these tables.
import { LIMIT_NAMES, LIMITS } from '../daemon/contract/limits.ts';
import { DEFAULT_SUPERVISE_SETTINGS } from './supervise/settings.ts';

export interface FlagSpec {
  /** Placeholder of the value; absent for a switch. */
  readonly value?: string;
  readonly isRepeatable?: boolean;
  /** Between the items of a repeatable flag's variable; default: as in PATH. */
  readonly separator?: string;
  readonly help: string;
}

export const FLAGS = {
  host: { value: 'HOST', help: 'address to bind (127.0.0.1)' },
  port: { value: 'N', help: 'TCP port (4170); 0 picks a free one' },
  socket: { value: 'PATH', help: 'listen on a unix socket instead' },
  token: { value: 'TOKEN', help: 'bearer that clients must send' },
  'require-auth': { help: 'bearer on loopback too, also for /health' },
  'allow-origin': {
    value: 'ORIGIN',
    isRepeatable: true,
    separator: ',',
    help: 'browser origin that may call, "*" for any',
  },
  'trusted-proxy': {
    value: 'ADDRESS',
    isRepeatable: true,
    separator: ',',
    help: 'proxy whose X-Forwarded-For is believed; "unix" for peers on a unix socket',
  },
  'state-dir': { value: 'DIR', help: 'where the database and the logs are kept' },
  workspace: { value: 'DIR', isRepeatable: true, help: 'workspace to serve; the first is the primary one' },
  root: { value: 'DIR', isRepeatable: true, help: 'workspaces under it are opened on first demand' },
  agent: { value: 'AGENT', help: '"qwen" (default), "demo", or a command line' },
  'permission-policy': {
    value: 'POLICY',
    help: 'who decides permission questions: first-responder (default), designated, consensus, local-only',
  },
  'consensus-quorum': { value: 'N', help: 'votes that decide under the consensus policy (a majority)' },
  'rate-limit': { help: 'limit requests per client; see the rate-limit-* numbers' },
  'no-cgroups': { help: 'never give daemons control groups of their own' },
  'log-level': { value: 'LEVEL', help: 'trace, debug, info (default), warn, error, fatal, silent' },
  'stop-timeout-ms': { value: 'MS', help: 'time for an orderly stop (30000)' },
  'max-log-bytes': { value: 'BYTES', help: 'size at which a daemon log is rotated (16 MiB)' },
} as const satisfies Record<string, FlagSpec>;

export type FlagName = keyof typeof FLAGS;

export interface NumberFlag {
  readonly flag: string;
  readonly fallback: number;
  readonly help: string;
}

const kebab = (key: string) => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** One flag for every whole number of supervision, named after its setting; what each means stands in supervise/settings.ts. */
export const SUPERVISION_FLAGS = [
  ...Object.entries(DEFAULT_SUPERVISE_SETTINGS)
    .filter((entry): entry is [string, number] => typeof entry[1] === 'number')
    .map(([key, fallback]) => ({ flag: kebab(key), key, isRestart: false, fallback })),
  ...Object.entries(DEFAULT_SUPERVISE_SETTINGS.restart)
    .filter(([, fallback]) => Number.isInteger(fallback))
    .map(([key, fallback]) => ({
      flag: `restart-${kebab(key)}`,
      key,
      isRestart: true,
      fallback: fallback as number,
    })),
];

/** Limits of each daemon, passed on to it. */
export const LIMIT_FLAGS: readonly NumberFlag[] = LIMIT_NAMES.map((name) => LIMITS[name]);

/** The environment variable of a flag. */
export function flagVariable(flag: string): string {
  return `QWEN_COORDINATOR_${flag.toUpperCase().replaceAll('-', '_')}`;
}
