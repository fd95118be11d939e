// argv, environment and handshake in, one frozen configuration out. The only reader of both.
import { accessSync, constants, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { parseArgs } from 'node:util';
import { bareHost, isLoopbackAddress, parseOrigin } from './contract/access.ts';
import { canonicalPath, workspaceIdOf } from './contract/canonical-path.ts';
import { DEFAULT_AGENT } from './contract/command-line.ts';
import { type HandshakeRequest, INCARNATION_ENV } from './contract/handshake.ts';
import {
  LIMIT_NAMES,
  LIMITS,
  type LimitName,
  type Limits,
  limitsFrom,
  parseLimit,
} from './contract/limits.ts';
import { PERMISSION_POLICIES, type PermissionPolicy } from './contract/wire.ts';

export type Listen =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

export interface DaemonConfig {
  /** Canonical path. */
  readonly workspace: string;
  readonly listen: Listen;
  /** Client token of a stand-alone daemon. */
  readonly token: string | undefined;
  readonly requireAuth: boolean;
  readonly allowedOrigins: readonly string[];
  /** Present when a coordinator started this daemon. */
  readonly coordinated: { readonly incarnation: string; readonly secret: string } | undefined;
  readonly agent: string;
  readonly agentEnv: Readonly<Record<string, string | undefined>>;
  /** Where the daemon keeps files: transcripts, and what the demo agent remembers. Made with the first file. */
  readonly stateDir: string;
  readonly permissionPolicy: PermissionPolicy;
  readonly consensusQuorum: number | undefined;
  readonly isRateLimited: boolean;
  readonly limits: Limits;
  readonly logLevel: string;
}

/** A setting that refuses the start. The message names the flag. */
export class ConfigError extends Error {}

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

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

export interface Arguments {
  readonly values: Readonly<Record<string, string | boolean | readonly string[] | undefined>>;
  /** Set when a coordinator started this process: the configuration then comes through the handshake. */
  readonly incarnation: string | undefined;
}

/** @throws ConfigError for an unknown flag or a missing value. */
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
 * @throws ConfigError naming the flag, what is wrong, and what to do.
 */
export function standaloneConfig({ values }: Arguments, env: NodeJS.ProcessEnv): DaemonConfig {
  const text = (name: string) => values[name] as string | undefined;
  const token = text('token') ?? (env.QWEN_SERVER_TOKEN?.trim() || undefined);
  const requireAuth = values['require-auth'] === true;
  if (requireAuth && token === undefined)
    throw new ConfigError('--require-auth needs a token: give --token or set QWEN_SERVER_TOKEN');
  const listen = parseListen(text('socket'), text('hostname'), text('port'));
  if (listen.kind === 'tcp' && !isLoopbackAddress(listen.host) && token === undefined)
    throw new ConfigError(
      `--hostname ${listen.host} can be reached from other machines and needs a token: give --token or set QWEN_SERVER_TOKEN`,
    );
  const logLevel = text('log-level') ?? 'info';
  if (!LOG_LEVELS.includes(logLevel))
    throw new ConfigError(`--log-level must be one of ${LOG_LEVELS.join(', ')}, got "${logLevel}"`);
  const workspace = boundWorkspace(text('workspace'));
  return Object.freeze({
    workspace,
    listen,
    token,
    requireAuth,
    allowedOrigins: parseOrigins((values['allow-origin'] as readonly string[] | undefined) ?? [], token),
    coordinated: undefined,
    agent: text('agent') ?? DEFAULT_AGENT,
    agentEnv: agentEnvironment(env),
    stateDir: text('state-dir') ?? defaultStateDir(workspace, env),
    ...parsePolicy(text('permission-policy'), text('consensus-quorum')),
    isRateLimited: values['rate-limit'] === true,
    limits: parseLimits(text),
    logLevel,
  });
}

/** The configuration of a daemon that a coordinator started. @throws ConfigError when the workspace cannot be used. */
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

/** One directory a workspace, apart from those of coordinators. */
function defaultStateDir(workspace: string, env: NodeJS.ProcessEnv): string {
  const name = join('qwen-daemon', workspaceIdOf(workspace));
  // The XDG rules: a relative one is to be ignored.
  if (env.XDG_STATE_HOME !== undefined && isAbsolute(env.XDG_STATE_HOME))
    return join(env.XDG_STATE_HOME, name);
  return join(env.HOME || homedir(), '.local', 'state', name);
}

/** The canonical workspace. @throws ConfigError naming `--workspace`. */
function boundWorkspace(given: string | undefined): string {
  if (given === undefined) throw new ConfigError('--workspace is required: an absolute path of a directory');
  if (!isAbsolute(given)) throw new ConfigError(`--workspace must be an absolute path, got "${given}"`);
  try {
    const path = canonicalPath(given);
    if (!statSync(path).isDirectory()) throw new ConfigError(`--workspace is not a directory: ${given}`);
    accessSync(path, constants.R_OK | constants.X_OK);
    return path;
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new ConfigError(`--workspace does not exist: ${given}`);
    throw new ConfigError(`--workspace cannot be read: ${given} (${code ?? message})`);
  }
}

function parseListen(socket: string | undefined, host = '127.0.0.1', port = '4170'): Listen {
  if (socket !== undefined) {
    if (!isAbsolute(socket)) throw new ConfigError(`--socket must be an absolute path, got "${socket}"`);
    return { kind: 'unix', path: socket };
  }
  const value = /^\d{1,5}$/.test(port) ? Number(port) : Number.NaN;
  if (!(value <= 65_535)) throw new ConfigError(`--port must be a number from 0 to 65535, got "${port}"`);
  // Node takes an empty one for every address of the machine.
  if (bareHost(host) === '')
    throw new ConfigError('--hostname must not be empty; every address is 0.0.0.0 or ::');
  return { kind: 'tcp', host: bareHost(host), port: value };
}

function parseOrigins(given: readonly string[], token: string | undefined): readonly string[] {
  const origins = given.map((text) => {
    try {
      return parseOrigin(text);
    } catch (error) {
      throw new ConfigError((error as Error).message);
    }
  });
  const foreign = origins.find(
    (origin) => origin === '*' || !isLoopbackAddress(bareHost(new URL(origin).hostname)),
  );
  if (foreign !== undefined && token === undefined)
    throw new ConfigError(`--allow-origin ${foreign} needs a token: give --token or set QWEN_SERVER_TOKEN`);
  return origins;
}

function parsePolicy(policy = 'first-responder', quorum: string | number | undefined) {
  const permissionPolicy = PERMISSION_POLICIES.find((candidate) => candidate === policy);
  if (permissionPolicy === undefined)
    throw new ConfigError(
      `--permission-policy must be one of ${PERMISSION_POLICIES.join(', ')}, got "${policy}"`,
    );
  if (quorum === undefined) return { permissionPolicy, consensusQuorum: undefined };
  if (permissionPolicy !== 'consensus')
    throw new ConfigError('--consensus-quorum needs --permission-policy consensus');
  if (!/^[1-9]\d{0,5}$/.test(String(quorum)))
    throw new ConfigError(`--consensus-quorum must be a positive whole number, got "${quorum}"`);
  return { permissionPolicy, consensusQuorum: Number(quorum) };
}

function parseLimits(text: (flag: string) => string | undefined): Limits {
  const given: Partial<Record<LimitName, number>> = {};
  for (const name of LIMIT_NAMES) {
    const value = text(LIMITS[name].flag);
    if (value === undefined) continue;
    try {
      given[name] = parseLimit(name, value);
    } catch (error) {
      throw new ConfigError((error as Error).message);
    }
  }
  return limitsFrom(given);
}

/** What the agent may see of our environment: everything but our own secrets and settings. */
function agentEnvironment(env: NodeJS.ProcessEnv): Record<string, string | undefined> {
  const isOurs = (name: string) => name === 'QWEN_SERVER_TOKEN' || name.startsWith('QWEN_COORDINATOR_');
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isOurs(name)));
}
