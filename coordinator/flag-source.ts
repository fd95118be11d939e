// Reads the value given for a flag: on the command line, else in the flag's environment variable. What the value means, config.ts
// decides.
import { delimiter } from 'node:path';
import { type FlagValues, oneOf, wholeNumber } from '../daemon/contract/flag-values.ts';
import { FLAGS, type FlagName, type FlagSpec, flagVariable } from './flags.ts';

export class FlagSource {
  readonly #flags: FlagValues;
  readonly #env: NodeJS.ProcessEnv;

  constructor(flags: FlagValues, env: NodeJS.ProcessEnv) {
    this.#flags = flags;
    this.#env = env;
  }

  /** The text given for the flag, trimmed if it comes from the variable; undefined when none is given. */
  text(name: string): string | undefined {
    const value = this.#flags[name];
    return typeof value === 'string' ? value : variableOf(this.#env, flagVariable(name));
  }

  /** The values of a repeatable flag. The flag's variable has a list, separated like PATH or as `FlagSpec.separator` says. */
  list(name: FlagName): readonly string[] {
    const value = this.#flags[name];
    if (Array.isArray(value) && value.length > 0) return value;
    const spec: FlagSpec = FLAGS[name];
    const separator = spec.separator ?? delimiter;
    return (this.#env[flagVariable(name)] ?? '').split(separator).filter((item) => item !== '');
  }

  /** Whether a switch is given, or its variable is 1, true or yes. */
  isSet(name: FlagName): boolean {
    if (this.#flags[name] === true) return true;
    return ['1', 'true', 'yes'].includes(this.#env[flagVariable(name)] ?? '');
  }

  /** The whole number given for the flag, else `fallback`. @throws ConfigError as `wholeNumber`. */
  integer(name: string, fallback: number, min?: number, max?: number): number {
    const text = this.text(name);
    return text === undefined ? fallback : wholeNumber(name, text, min, max);
  }

  /** The choice given for the flag, else `fallback`. @throws ConfigError naming the flag and the choices. */
  oneOf<T extends string>(name: FlagName, fallback: T, allowed: readonly T[]): T {
    return oneOf(name, this.text(name) ?? fallback, allowed);
  }
}

/** The trimmed text of an environment variable; undefined when the variable is blank or not set. */
export function variableOf(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const trimmed = env[name]?.trim();
  return trimmed === '' ? undefined : trimmed;
}
