// The daemon's configuration: makes one frozen `DaemonConfig` of the arguments and the environment, or of the handshake request.
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { parseArgs } from 'node:util';
import { workspaceIdOf } from './contract/canonical-path.ts';
import { DEFAULT_AGENT } from './contract/command-line.ts';
import {
  allowedOriginsOf,
  boundHost,
  ConfigError,
  checkToken,
  type FlagValues,
  type ListenAddress,
  limitsOf,
  oneOf,
  permissionPolicyOf,
  usableDirectory,
} from './contract/flag-values.ts';
import { type HandshakeRequest, INCARNATION_ENV } from './contract/handshake.ts';
import { LIMIT_NAMES, LIMITS, type Limits } from './contract/limits.ts';
import { DEFAULT_LOG_LEVEL, LOG_LEVELS } from './contract/log.ts';
import type { PermissionPolicy } from './contract/wire.ts';

export interface DaemonConfig {
  /** Canonical path of the workspace. */
  readonly workspace: string;
  readonly listen: ListenAddress;
  /** The bearer that clients must send; undefined: none is needed, or a coordinator started this daemon. */
  readonly token: string | undefined;
  readonly requireAuth: boolean;
  readonly allowedOrigins: readonly string[];
  /** The daemon's identity towards its coordinator; undefined for a stand-alone daemon. */
  readonly coordinated: { readonly incarnation: string; readonly secret: string } | undefined;
  readonly agent: string;
  readonly agentEnv: Readonly<Record<string, string | undefined>>;
  /** Directory for recordings and the demo agent's transcripts. Created with the first file in it. */
  readonly stateDir: string;
  readonly permissionPolicy: PermissionPolicy;
  readonly consensusQuorum: number | undefined;
  readonly isRateLimited: boolean;
  readonly limits: Limits;
  readonly logLevel: string;
}

const TEXT_FLAGS = {
  workspace: { type: 'string' },
  port: { type: 'string' },
  socket: { type: 'string' },
  hostname: { type: 'string' },
  token: { type: 'string' },
  'require-auth': { type: 'boolean' },
  'allow-origin': { type: 'string', multiple: true },
  agent: { type: 'string' },
  'state-dir': { type: 'string' },
  'permission-policy': { type: 'string' },
  'consensus-quorum': { type: 'string' },
  'rate-limit': { type: 'boolean' },
  'log-level': { type: 'string' },
  'check-agent': { type: 'boolean' },
  incarnation: { type: 'string' },
  help: { type: 'boolean' },
  version: { type: 'boolean' },
} as const;

/** The daemon's words in the errors about a missing token: its flag for the host, and what to do. */
const TOKEN_WORDING = { hostFlag: 'hostname', remedy: 'give --token or set QWEN_SERVER_TOKEN' };

export interface Arguments {
  readonly values: FlagValues;
  /** Defined when a coordinator started this process: the configuration then comes in the handshake request, not in `values`. */
  readonly incarnation: string | undefined;
}

/** Splits the command line into flags and values; checks no value. @throws ConfigError for an unknown flag or a missing value. */
export function parseArguments(argv: readonly string[]): Arguments {
  const limitFlags = Object.fromEntries(
    LIMIT_NAMES.map((name) => [LIMITS[name].flag, { type: 'string' as const }]),
  );
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: { ...TEXT_FLAGS, ...limitFlags },
      strict: true,
    });
    return { values, incarnation: values.incarnation as string | undefined };
  } catch (error) {
    throw new ConfigError((error as Error).message);
  }
}

/**
 * The configuration of a stand-alone daemon.
 * @throws ConfigError whose message names the flag, what is wrong, and what to do.
 */
export function standaloneConfig({ values }: Arguments, env: NodeJS.ProcessEnv): DaemonConfig {
  const text = (name: string) => values[name] as string | undefined;
  const token = text('token') ?? (env.QWEN_SERVER_TOKEN?.trim() || undefined);
  const requireAuth = values['require-auth'] === true;
  const listen = parseListen(text('socket'), text('hostname'), text('port'));
  checkToken({ listen, token, requireAuth }, TOKEN_WORDING);
  const logLevel = oneOf('log-level', text('log-level') ?? DEFAULT_LOG_LEVEL, LOG_LEVELS);
  const workspace = boundWorkspace(text('workspace'));
  return Object.freeze({
    workspace,
    listen,
    token,
    requireAuth,
    allowedOrigins: allowedOriginsOf(
      (values['allow-origin'] as readonly string[] | undefined) ?? [],
      token,
      TOKEN_WORDING,
    ),
    coordinated: undefined,
    agent: text('agent') ?? DEFAULT_AGENT,
    agentEnv: agentEnvironment(env),
    stateDir: text('state-dir') ?? defaultStateDir(workspace, env),
    ...parsePolicy(text('permission-policy'), text('consensus-quorum')),
    isRateLimited: values['rate-limit'] === true,
    limits: limitsOf(text),
    logLevel,
  });
}

/** The configuration of a daemon that a coordinator started. @throws ConfigError for an unusable workspace or a bad policy. */
export function coordinatedConfig(request: HandshakeRequest, env: NodeJS.ProcessEnv): DaemonConfig {
  return Object.freeze({
    workspace: boundWorkspace(request.workspace),
    listen: { kind: 'unix' as const, path: request.socket },
    token: undefined,
    requireAuth: true,
    allowedOrigins: [],
    coordinated: { incarnation: request.incarnation, secret: request.secret },
    agent: request.agent,
    agentEnv: { ...agentEnvironment(env), [INCARNATION_ENV]: request.incarnation },
    stateDir: request.stateDir,
    ...parsePolicy(request.permissionPolicy, request.consensusQuorum ?? undefined),
    isRateLimited: request.rateLimit,
    limits: request.limits,
    logLevel: request.logLevel,
  });
}

/** The state directory of a stand-alone daemon without `--state-dir`: one per workspace, none that a coordinator uses. */
function defaultStateDir(workspace: string, env: NodeJS.ProcessEnv): string {
  const name = join('qwen-daemon', workspaceIdOf(workspace));
  // The XDG rules say that a relative path in XDG_STATE_HOME is ignored.
  if (env.XDG_STATE_HOME !== undefined && isAbsolute(env.XDG_STATE_HOME))
    return join(env.XDG_STATE_HOME, name);
  return join(env.HOME || homedir(), '.local', 'state', name);
}

/** The canonical path of the directory `given`. @throws ConfigError when the path is missing, relative or unusable. */
function boundWorkspace(given: string | undefined): string {
  if (given === undefined) throw new ConfigError('--workspace is required: an absolute path of a directory');
  if (!isAbsolute(given)) throw new ConfigError(`--workspace must be an absolute path, got "${given}"`);
  return usableDirectory('--workspace', given);
}

function parseListen(socket: string | undefined, host = '127.0.0.1', port = '4170'): ListenAddress {
  if (socket !== undefined) {
    if (!isAbsolute(socket)) throw new ConfigError(`--socket must be an absolute path, got "${socket}"`);
    return { kind: 'unix', path: socket };
  }
  const value = /^\d{1,5}$/.test(port) ? Number(port) : Number.NaN;
  if (!(value <= 65_535)) throw new ConfigError(`--port must be a number from 0 to 65535, got "${port}"`);
  return { kind: 'tcp', host: boundHost('hostname', host), port: value };
}

function parsePolicy(policy: string | undefined, quorum: string | number | undefined) {
  const permissionPolicy = permissionPolicyOf(policy, quorum !== undefined);
  if (quorum === undefined) return { permissionPolicy, consensusQuorum: undefined };
  if (!/^[1-9]\d{0,5}$/.test(String(quorum)))
    throw new ConfigError(`--consensus-quorum must be a positive whole number, got "${quorum}"`);
  return { permissionPolicy, consensusQuorum: Number(quorum) };
}

/** The environment for the agent: `env` without the variables for this package's token and settings. */
function agentEnvironment(env: NodeJS.ProcessEnv): Record<string, string | undefined> {
  const isOurs = (name: string) => name === 'QWEN_SERVER_TOKEN' || name.startsWith('QWEN_COORDINATOR_');
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isOurs(name)));
}
