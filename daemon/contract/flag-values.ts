// Parses the values of flags that both commands take (`qwen-coordinator start`, `qwen-daemon`), and names the flag whose value
// cannot be used. Reads no arguments and no environment: the config module of each process does.
import { accessSync, constants, statSync } from 'node:fs';
import { bareHost, isLoopbackAddress } from './access.ts';
import { canonicalPath } from './canonical-path.ts';
import { LIMIT_NAMES, LIMITS, type LimitName, type Limits, limitsFrom } from './limits.ts';
import { DEFAULT_PERMISSION_POLICY, PERMISSION_POLICIES, type PermissionPolicy } from './wire.ts';

/** A setting with which the process cannot start. The message names the flag, what is wrong, and if possible what to do. */
export class ConfigError extends Error {}

/** Values as a command line gave them, by flag name without dashes. */
export type FlagValues = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

/** Where a process listens for clients. `host` has no brackets around IPv6; port 0 picks a free one. */
export type ListenAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

const MAX_INT = 2 ** 31 - 1;

/** Parses a whole number. @param flag without dashes. @throws ConfigError naming the flag and its range. */
export function wholeNumber(flag: string, text: string, min = 0, max = MAX_INT): number {
  const value = /^\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max))
    throw new ConfigError(`--${flag} must be a whole number from ${min} to ${max}, got "${text}"`);
  return value;
}

/** `given`, if it is one of `allowed`. @throws ConfigError naming the flag and the allowed values. */
export function oneOf<T extends string>(flag: string, given: string, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === given);
  if (found !== undefined) return found;
  throw new ConfigError(`--${flag} must be one of ${allowed.join(', ')}, got "${given}"`);
}

/** The values of a flag as its help lists them, the default marked: `trace, debug, info (default)`. */
export function choicesOf<T extends string>(allowed: readonly T[], fallback: T): string {
  return allowed.map((choice) => (choice === fallback ? `${choice} (default)` : choice)).join(', ');
}

/**
 * The policy of `--permission-policy`.
 * @param hasQuorum whether `--consensus-quorum` is given, which goes with the consensus policy only.
 * @throws ConfigError
 */
export function permissionPolicyOf(given: string | undefined, hasQuorum: boolean): PermissionPolicy {
  const policy = oneOf('permission-policy', given ?? DEFAULT_PERMISSION_POLICY, PERMISSION_POLICIES);
  if (hasQuorum && policy !== 'consensus')
    throw new ConfigError('--consensus-quorum needs --permission-policy consensus');
  return policy;
}

/**
 * The limits whose flags were given, the others at their defaults.
 * @param textOf the text of a flag; undefined when it is not given.
 * @throws ConfigError
 */
export function limitsOf(textOf: (flag: string) => string | undefined): Limits {
  const given: Partial<Record<LimitName, number>> = {};
  for (const name of LIMIT_NAMES) {
    const { flag, min, max } = LIMITS[name];
    const text = textOf(flag);
    if (text !== undefined) given[name] = wholeNumber(flag, text, min, max);
  }
  return limitsFrom(given);
}

/**
 * The canonical path of a directory that this process may read and enter.
 * @param flag with dashes. @param path absolute.
 * @throws ConfigError naming flag and path.
 */
export function usableDirectory(flag: string, path: string): string {
  try {
    const canonical = canonicalPath(path);
    if (!statSync(canonical).isDirectory()) throw new ConfigError(`${flag} is not a directory: ${path}`);
    accessSync(canonical, constants.R_OK | constants.X_OK);
    return canonical;
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new ConfigError(`${flag} does not exist: ${path}`);
    throw new ConfigError(`${flag} cannot be read: ${path} (${code ?? message})`);
  }
}

/** An address of `--host` (coordinator) or `--hostname` (daemon), without the brackets of a URL. @throws ConfigError */
export function boundHost(flag: string, given: string): string {
  const host = bareHost(given);
  // Node takes an empty host for every address of the machine.
  if (host === '') throw new ConfigError(`--${flag} must not be empty; every address is 0.0.0.0 or ::`);
  return host;
}

/** The words with which one of the two commands says that a token is missing. */
export interface TokenWording {
  /** The command's flag for the host to listen on, without dashes. */
  readonly hostFlag: string;
  /** What to do about it, for example `give --token or set QWEN_SERVER_TOKEN`. */
  readonly remedy: string;
}

/** The settings by which `checkToken` decides. */
export interface AccessFlags {
  readonly listen: ListenAddress;
  readonly token: string | undefined;
  readonly requireAuth: boolean;
}

/** @throws ConfigError without a token, if `requireAuth` is set or the listener can be reached from other machines. */
export function checkToken({ listen, token, requireAuth }: AccessFlags, wording: TokenWording): void {
  if (token !== undefined) return;
  const { hostFlag, remedy } = wording;
  if (requireAuth) throw new ConfigError(`--require-auth needs a token: ${remedy}`);
  if (listen.kind === 'tcp' && !isLoopbackAddress(listen.host))
    throw new ConfigError(
      `--${hostFlag} ${listen.host} can be reached from other machines and needs a token: ${remedy}`,
    );
}

/**
 * The origins of `--allow-origin`.
 * @throws ConfigError for a value that is no origin, and for an origin of another machine when there is no token.
 */
export function allowedOriginsOf(
  given: readonly string[],
  token: string | undefined,
  { remedy }: Pick<TokenWording, 'remedy'>,
): readonly string[] {
  const origins = given.map(originOf);
  const foreign = origins.find(
    (origin) => origin === '*' || !isLoopbackAddress(bareHost(new URL(origin).hostname)),
  );
  if (foreign !== undefined && token === undefined)
    throw new ConfigError(`--allow-origin ${foreign} needs a token: ${remedy}`);
  return origins;
}

/** `*`, or an origin in its canonical form. @throws ConfigError for anything else. */
function originOf(text: string): string {
  if (text === '*') return text;
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  if (parsed === undefined || parsed.origin === 'null' || parsed.origin !== text.toLowerCase())
    throw new ConfigError(
      `--allow-origin must be "*" or an origin such as https://example.org, got "${text}"`,
    );
  return parsed.origin;
}
