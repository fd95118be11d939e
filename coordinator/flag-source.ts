// What was given for a flag: its value on the command line, else in its variable. What a value means is config.ts's matter.
import { delimiter } from 'node:path';
import { FLAGS, type FlagName, type FlagSpec, flagVariable } from './flags.ts';

/** A setting that refuses the start. The message names the flag. */
export class ConfigError extends Error {}

/** Values as the command line gave them, by flag name without dashes. */
export type FlagValues = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

const MAX_INT = 2 ** 31 - 1;

export class FlagSource {
  readonly #flags: FlagValues;
  readonly #env: NodeJS.ProcessEnv;

  constructor(flags: FlagValues, env: NodeJS.ProcessEnv) {
    this.#flags = flags;
    this.#env = env;
  }

  text(name: string): string | undefined {
    const value = this.#flags[name];
    return typeof value === 'string' ? value : variableOf(this.#env, flagVariable(name));
  }

  /** A repeatable flag; its variable holds a list separated like PATH, or as the flag's table says. */
  list(name: FlagName): readonly string[] {
    const value = this.#flags[name];
    if (Array.isArray(value) && value.length > 0) return value;
    const spec: FlagSpec = FLAGS[name];
    const separator = spec.separator ?? delimiter;
    return (this.#env[flagVariable(name)] ?? '').split(separator).filter((item) => item !== '');
  }

  isSet(name: FlagName): boolean {
    if (this.#flags[name] === true) return true;
    return ['1', 'true', 'yes'].includes(this.#env[flagVariable(name)] ?? '');
  }

  /** @throws ConfigError as `wholeNumber`. */
  integer(name: string, fallback: number, min = 0, max = MAX_INT): number {
    const text = this.text(name);
    return text === undefined ? fallback : wholeNumber(name, text, min, max);
  }

  /** @throws ConfigError naming the flag and what may be given. */
  oneOf<T extends string>(name: FlagName, fallback: T, allowed: readonly T[]): T {
    const given = this.text(name) ?? fallback;
    const found = allowed.find((candidate) => candidate === given);
    if (found !== undefined) return found;
    throw new ConfigError(`--${name} must be one of ${allowed.join(', ')}, got "${given}"`);
  }
}

/** A number of the command line. @throws ConfigError naming the flag. */
export function wholeNumber(flag: string, text: string, min = 0, max = MAX_INT): number {
  const value = /^\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max))
    throw new ConfigError(`--${flag} must be a whole number from ${min} to ${max}, got "${text}"`);
  return value;
}

/** A variable's text without space around it; undefined when there is none. */
export function variableOf(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const trimmed = env[name]?.trim();
  return trimmed === '' ? undefined : trimmed;
}
