// Makes commander's options from the flag tables, and reads back the parsed values by flag name.
import { type Command, Option } from 'commander';
import { type FlagValues, wholeNumber } from '../../daemon/contract/flag-values.ts';
import {
  FLAGS,
  type FlagSpec,
  flagVariable,
  LIMIT_FLAGS,
  type NumberFlag,
  SUPERVISION_FLAGS,
  settingFlag,
} from '../flags.ts';

const VARIABLES = `
Every flag has a variable: QWEN_COORDINATOR_ and its name in capitals with underscores, for example
QWEN_COORDINATOR_MAX_DAEMONS for --max-daemons. A flag wins over its variable. The variable of a repeatable
flag holds directories separated by ":", other values by ",". 1, true or yes sets a switch. MS: milliseconds.`;

/** Adds every flag of `start`, in groups. */
export function withConfigFlags(command: Command): Command {
  for (const [flag, spec] of Object.entries<FlagSpec>(FLAGS))
    command.addOption(optionOf(flag, spec).helpGroup(`${spec.group}:`));
  for (const number of [...SUPERVISION_FLAGS, ...LIMIT_FLAGS])
    command.addOption(numberOption(number).helpGroup(`${number.group}:`));
  return command.addHelpText('after', VARIABLES);
}

/** Adds `--state-dir`, the only configuration flag of commands that look for a running coordinator. */
export function withStateDir(command: Command): Command {
  return command.addOption(withVariable('state-dir', optionOf('state-dir', FLAGS['state-dir'])));
}

/** Adds the flags that `parseSweepConfig` reads. */
export function withSweepFlags(command: Command): Command {
  withStateDir(command).addOption(withVariable('log-level', optionOf('log-level', FLAGS['log-level'])));
  for (const number of SUPERVISION_FLAGS.filter(({ flag }) => flag === settingFlag('stopGraceMs')))
    command.addOption(withVariable(number.flag, numberOption(number)));
  return command;
}

/** Names the flag's variable in its help. `start` explains the rule for all variables instead. */
function withVariable(flag: string, option: Option): Option {
  option.description += ` [${flagVariable(flag)}]`;
  return option;
}

export function optionOf(flag: string, { value, isRepeatable, help }: FlagSpec): Option {
  const argument = value === undefined ? '' : ` <${value}${isRepeatable === true ? '...' : ''}>`;
  const option = new Option(`--${flag}${argument}`, help);
  // Each occurrence takes one value, so that `--workspace a start` does not take `start` for a second directory.
  if (isRepeatable === true) {
    option.variadic = false;
    option.argParser((item: string, before: readonly string[] | undefined) => [...(before ?? []), item]);
  }
  return option;
}

function numberOption({ flag, value, fallback, help }: NumberFlag): Option {
  return new Option(`--${flag} <${value}>`, `${help} (${fallback})`);
}

/** The values that commander has parsed, by the flag's name without dashes. */
export function flagValues(command: Command): FlagValues {
  const values = command.opts<Record<string, string | boolean | readonly string[]>>();
  return Object.fromEntries(
    command.options.map((option) => [option.long?.slice(2) ?? '', values[option.attributeName()]]),
  );
}

/** The value of a number flag; undefined when it is not given. @throws ConfigError naming the flag. */
export function numberOf(flags: FlagValues, name: string, min = 0): number | undefined {
  const text = flags[name];
  return text === undefined ? undefined : wholeNumber(name, String(text), min);
}
