// The coordinator's configuration: flags and environment in, one frozen object out. A flag wins over its variable, and a
// variable over the default.
import { accessSync, constants } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { DEFAULT_AGENT, splitCommandLine } from '../daemon/contract/command-line.ts';
import {
  allowedOriginsOf,
  boundHost,
  ConfigError,
  checkToken,
  type FlagValues,
  type ListenAddress,
  limitsOf,
  permissionPolicyOf,
  usableDirectory,
} from '../daemon/contract/flag-values.ts';
import { LIMITS, type Limits } from '../daemon/contract/limits.ts';
import { DEFAULT_LOG_LEVEL, LOG_LEVELS } from '../daemon/contract/log.ts';
import type { PermissionPolicy } from '../daemon/contract/wire.ts';
import { FlagSource, variableOf } from './flag-source.ts';
import { flagVariable, restartFlag, settingFlag } from './flags.ts';
import { checkSocketPath } from './launch/directories.ts';
import { DAY_MS, DEFAULT_RETENTION, type RetentionSettings } from './store/retention.ts';
import {
  type SettingSpec,
  SUPERVISION,
  type SuperviseSettings,
  superviseSettings,
} from './supervise/settings.ts';

export interface Config {
  readonly listen: ListenAddress;
  readonly token: string | undefined;
  readonly requireAuth: boolean;
  readonly allowedOrigins: readonly string[];
  readonly trustedProxies: readonly string[];
  /** Absolute path; the directory is created when it is missing. */
  readonly stateDir: string;
  /** Canonical paths; the first is the primary workspace. */
  readonly workspaces: readonly string[];
  /** Canonical paths of directories below which any directory becomes a workspace on first demand. */
  readonly roots: readonly string[];
  readonly agent: string;
  /** A daemon's program (an absolute path) and first arguments; undefined: this package's own daemon. */
  readonly daemonCommand: readonly string[] | undefined;
  readonly permissionPolicy: PermissionPolicy;
  readonly consensusQuorum: number | undefined;
  readonly isRateLimited: boolean;
  /** Whether each daemon gets a cgroup of its own, provided that the system allows it. */
  readonly usesCgroups: boolean;
  readonly logLevel: string;
  /** Time for an orderly stop of the whole fleet. */
  readonly stopTimeoutMs: number;
  readonly maxLogBytes: number;
  readonly retention: Pick<RetentionSettings, 'maxAgeMs' | 'maxClosedSessions'>;
  readonly limits: Limits;
  readonly supervise: SuperviseSettings;
}

/** The coordinator's own flag names, for error messages of `checkToken` and `allowedOriginsOf`, which the daemon uses too. */
const TOKEN_WORDING = { hostFlag: 'host', remedy: 'give --token, or set QWEN_COORDINATOR_TOKEN' };
const DEFAULT_MAX_LOG_BYTES = 16 * 1024 * 1024;
const DEFAULT_STOP_TIMEOUT_MS = 30_000;

/** The configuration from flags and variables. @throws ConfigError naming the flag, what is wrong, and what to do. */
export function parseConfig(flags: FlagValues, env: NodeJS.ProcessEnv, cwd: string): Config {
  const source = new FlagSource(flags, env);
  const token = source.text('token') ?? variableOf(env, 'QWEN_SERVER_TOKEN');
  const listen = parseListen(source);
  const requireAuth = source.isSet('require-auth');
  checkToken({ listen, token, requireAuth }, TOKEN_WORDING);
  const limits = limitsOf((flag) => source.text(flag));
  const supervise = parseSupervision(source);
  checkTogether(supervise, limits);
  const roots = source.list('root').map((path) => directory('--root', path, cwd));
  const named = source.list('workspace').map((path) => directory('--workspace', path, cwd));
  return Object.freeze({
    listen,
    token,
    requireAuth,
    allowedOrigins: allowedOriginsOf(source.list('allow-origin'), token, TOKEN_WORDING),
    trustedProxies: source.list('trusted-proxy'),
    stateDir: stateDirOf(source.text('state-dir'), env, cwd),
    // Like the reference server, a start without any directory serves the current one.
    workspaces: named.length + roots.length > 0 ? unique(named) : [directory('--workspace', cwd, cwd)],
    roots: unique(roots),
    agent: source.text('agent') ?? DEFAULT_AGENT,
    daemonCommand: parseDaemonCommand(source),
    ...parsePolicy(source),
    isRateLimited: source.isSet('rate-limit'),
    usesCgroups: !source.isSet('without-cgroups'),
    logLevel: parseLogLevel(source),
    stopTimeoutMs: source.integer('stop-timeout-ms', DEFAULT_STOP_TIMEOUT_MS, 1),
    retention: {
      maxAgeMs: source.integer('retention-days', DEFAULT_RETENTION.maxAgeMs / DAY_MS, 1) * DAY_MS,
      maxClosedSessions: source.integer('max-closed-sessions', DEFAULT_RETENTION.maxClosedSessions),
    },
    maxLogBytes: source.integer('max-log-bytes', DEFAULT_MAX_LOG_BYTES, 64 * 1024),
    limits,
    supervise,
  });
}

/** The settings of `sweep`, which ends the daemons that a coordinator has left behind. */
export interface SweepConfig {
  /** Absolute path. */
  readonly stateDir: string;
  readonly logLevel: string;
  readonly stopGraceMs: number;
}

/** Reads only the settings of `sweep`, which has to work even if the rest of the configuration is faulty. @throws ConfigError */
export function parseSweepConfig(flags: FlagValues, env: NodeJS.ProcessEnv, cwd: string): SweepConfig {
  const source = new FlagSource(flags, env);
  return {
    stateDir: stateDirOf(source.text('state-dir'), env, cwd),
    logLevel: parseLogLevel(source),
    stopGraceMs: numberOf(source, settingFlag('stopGraceMs'), SUPERVISION.stopGraceMs),
  };
}

/** The absolute path of the state directory, for commands that read no other setting. @param given the flag's value. */
export function stateDirOf(given: string | undefined, env: NodeJS.ProcessEnv, cwd: string): string {
  const named = given ?? variableOf(env, flagVariable('state-dir'));
  if (named !== undefined) return resolve(cwd, named);
  const base =
    variableOf(env, 'XDG_STATE_HOME') ?? join(variableOf(env, 'HOME') ?? homedir(), '.local', 'state');
  return join(base, 'qwen-coordinator');
}

/** The directories of which `ensureRuntimeDir` chooses one, to make the runtime directory below it. */
export function runtimeBases(env: NodeJS.ProcessEnv): { xdgRuntimeDir: string | undefined; tmpDir: string } {
  return { xdgRuntimeDir: variableOf(env, 'XDG_RUNTIME_DIR'), tmpDir: tmpdir() };
}

function parseListen(source: FlagSource): ListenAddress {
  const socket = source.text('socket');
  if (socket !== undefined) {
    if (!isAbsolute(socket)) throw new ConfigError(`--socket must be an absolute path, got "${socket}"`);
    checkSocketLength(socket);
    return { kind: 'unix', path: socket };
  }
  const port = source.integer('port', 4170, 0, 65_535);
  return { kind: 'tcp', host: boundHost('host', source.text('host') ?? '127.0.0.1'), port };
}

function checkSocketLength(socket: string): void {
  try {
    checkSocketPath(socket, 'choose a shorter one');
  } catch (error) {
    throw new ConfigError(`--socket: ${(error as Error).message}`);
  }
}

function parseLogLevel(source: FlagSource): string {
  return source.oneOf('log-level', DEFAULT_LOG_LEVEL, LOG_LEVELS);
}

/** The canonical path of `given`, which may be relative to `cwd`. @throws ConfigError when it is not a usable directory. */
function directory(flag: string, given: string, cwd: string): string {
  return usableDirectory(flag, resolve(cwd, given));
}

function parseSupervision(source: FlagSource): SuperviseSettings {
  return superviseSettings(
    (key, spec) => numberOf(source, settingFlag(key), spec),
    (key, spec) => numberOf(source, restartFlag(key), spec),
  );
}

function numberOf(source: FlagSource, flag: string, { fallback, min, max }: SettingSpec): number {
  return source.integer(flag, fallback, min, max);
}

/** Checks settings that depend on each other. @throws ConfigError naming both flags, even if one of them was not given. */
function checkTogether({ restart, ...supervise }: SuperviseSettings, limits: Limits): void {
  checkLonger(
    [settingFlag('stopGraceMs'), supervise.stopGraceMs],
    [LIMITS.shutdownGraceMs.flag, limits.shutdownGraceMs],
  );
  checkLonger(
    [settingFlag('restoreTimeoutMs'), supervise.restoreTimeoutMs],
    [LIMITS.sessionRestoreTimeoutMs.flag, limits.sessionRestoreTimeoutMs],
  );
  if (restart.maxBackoffMs < restart.firstBackoffMs)
    throw new ConfigError(
      `--${restartFlag('maxBackoffMs')} (${restart.maxBackoffMs}) must not be shorter than ` +
        `--${restartFlag('firstBackoffMs')} (${restart.firstBackoffMs})`,
    );
}

function checkLonger(
  [longerFlag, longerMs]: readonly [string, number],
  [shorterFlag, shorterMs]: readonly [string, number],
): void {
  if (longerMs <= shorterMs)
    throw new ConfigError(
      `--${longerFlag} (${longerMs}) must be longer than --${shorterFlag} (${shorterMs})`,
    );
}

function parsePolicy(source: FlagSource) {
  const hasQuorum = source.text('consensus-quorum') !== undefined;
  const permissionPolicy = permissionPolicyOf(source.text('permission-policy'), hasQuorum);
  const consensusQuorum = hasQuorum ? source.integer('consensus-quorum', 1, 1) : undefined;
  return { permissionPolicy, consensusQuorum };
}

function parseDaemonCommand(source: FlagSource): readonly string[] | undefined {
  const line = source.text('daemon-command');
  if (line === undefined) return undefined;
  const [program, ...args] = wordsOf('--daemon-command', line);
  // Daemons are started in "/", wherever the coordinator was started, so a relative path would not be found.
  if (program === undefined || !isAbsolute(program))
    throw new ConfigError(`--daemon-command must begin with the absolute path of a program, got "${line}"`);
  try {
    accessSync(program, constants.X_OK);
  } catch {
    throw new ConfigError(`--daemon-command: ${program} does not exist or cannot be executed`);
  }
  return [program, ...args];
}

function wordsOf(flag: string, line: string): readonly string[] {
  try {
    return splitCommandLine(line);
  } catch (error) {
    throw new ConfigError(`${flag}: ${(error as Error).message}`);
  }
}

function unique(items: readonly string[]): readonly string[] {
  return [...new Set(items)];
}
