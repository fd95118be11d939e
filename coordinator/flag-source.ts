// What was given for a flag: its value on the command line, else in its variable. What a value means is config.ts's matter.
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
  integer(name: string, fallback: number, min?: number, max?: number): number {
    const text = this.text(name);
    return text === undefined ? fallback : wholeNumber(name, text, min, max);
  }

  /** @throws ConfigError naming the flag and what may be given. */
  oneOf<T extends string>(name: FlagName, fallback: T, allowed: readonly T[]): T {
    return oneOf(name, this.text(name) ?? fallback, allowed);
  }
}

/** A variable's text without space around it; undefined when there is none. */
export function variableOf(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const trimmed = env[name]?.trim();
  return trimmed === '' ? undefined : trimmed;
}
