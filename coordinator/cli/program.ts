// The command line: which commands there are, and from their flags to one call each.
import { Command, CommanderError, Option } from 'commander';
import { type FlagValues, parseConfig, parseSweepConfig, stateDirOf, wholeNumber } from '../config.ts';
import {
  FLAGS,
  type FlagName,
  type FlagSpec,
  flagVariable,
  LIMIT_FLAGS,
  type NumberFlag,
  SUPERVISION_FLAGS,
} from '../flags.ts';
import type { AdminTarget } from './admin-place.ts';
import { backup } from './backup.ts';
import { demo } from './demo.ts';
import { doctor } from './doctor.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { refusalOf } from './refusal.ts';
import type { Runtime } from './runtime.ts';
import { start } from './start.ts';
import { status } from './status.ts';
import { stop } from './stop.ts';
import { sweep } from './sweep.ts';
import { why } from './why.ts';

const STOP_WAIT_MS = 60_000;

const VARIABLES = `
Every flag has a variable: QWEN_COORDINATOR_ and its name in capitals with underscores, for example
QWEN_COORDINATOR_MAX_DAEMONS for --max-daemons. A flag wins over its variable. The variable of a repeatable
flag holds directories separated by ":", other values by ",". 1, true or yes sets a switch. MS: milliseconds.`;

export interface Program {
  /** Runs one command line. @throws CommandError, ConfigError */
  run(argv: readonly string[]): Promise<ExitCode>;
}

export function createProgram(runtime: Runtime, env: NodeJS.ProcessEnv): Program {
  return {
    async run(argv) {
      let code: ExitCode = EXIT.ok;
      const program = commands(runtime, env, (ended) => {
        code = ended;
      });
      try {
        await program.parseAsync([...argv], { from: 'user' });
      } catch (error) {
        // Commander has printed help, version or its complaint already.
        if (!(error instanceof CommanderError)) throw refusalOf(error);
        return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
      }
      return code;
    },
  };
}

function commands(runtime: Runtime, env: NodeJS.ProcessEnv, ended: (code: ExitCode) => void): Command {
  const program = new Command('qwen-coordinator')
    .description('One isolated daemon per workspace in front of an ACP coding agent, behind one URL.')
    .version(runtime.version)
    .exitOverride();
  const configOf = (flags: FlagValues) => parseConfig(flags, env, runtime.cwd);
  const targetOf = (flags: FlagValues): AdminTarget => ({
    stateDir: stateDirOf(flags['state-dir'] as string | undefined, env, runtime.cwd),
    runtimeBases: runtime.runtimeBases,
  });

  withConfigFlags(program.command('start').description('run a coordinator in the foreground')).action(
    async (_options, command: Command) => ended(await start(configOf(flagValues(command)), runtime)),
  );
  withStateDir(program.command('status').description('show whether a coordinator runs, and its workspaces'))
    .option('--json', 'print JSON')
    .action((_options, command: Command) => {
      const flags = flagValues(command);
      return status(targetOf(flags), flags.json === true, runtime);
    });
  withStateDir(program.command('stop').description('end the running coordinator and its daemons'))
    .option('--timeout <MS>', 'how long to wait for the end', String(STOP_WAIT_MS))
    .action((_options, command: Command) => {
      const flags = flagValues(command);
      return stop(targetOf(flags), wholeNumber('timeout', String(flags.timeout)), runtime);
    });
  withStateDir(
    program.command('sweep').description('end daemons that a coordinator which no longer runs has left'),
  ).action((_options, command: Command) =>
    sweep(parseSweepConfig(flagValues(command), env, runtime.cwd), runtime),
  );
  withStateDir(
    program.command('doctor').description('check what a coordinator needs, and what may be left over'),
  )
    .addOption(optionOf('agent', FLAGS.agent))
    .option('--reap', 'end processes that are proven to be left over from ended daemons')
    .option('--json', 'print JSON')
    .action(async (_options, command: Command) => {
      const flags = flagValues(command);
      const options = {
        isReaping: flags.reap === true,
        isJson: flags.json === true,
        agent: String(flags.agent ?? env[flagVariable('agent')] ?? 'qwen'),
      };
      ended(await doctor(targetOf(flags), options, runtime));
    });
  addRecords(program, targetOf, runtime);
  program
    .command('demo')
    .description('try it out: two scratch workspaces and the built-in demo agent')
    .action(() => demo(runtime));
  program
    .command('version')
    .description('print the version')
    .action(() => runtime.print(`${runtime.version}\n`));
  return program;
}

/** The commands that read what the running coordinator has written down. */
function addRecords(program: Command, targetOf: (flags: FlagValues) => AdminTarget, runtime: Runtime): void {
  withStateDir(program.command('why').description('tell the state of a workspace, and what led to it'))
    .argument('<workspace>', 'directory or id')
    .option('--json', 'print JSON, with every event in full')
    .option('--limit <N>', 'events that are told, the newest (50)')
    .action((workspace: string, _options, command: Command) => {
      const flags = flagValues(command);
      const limit = flags.limit === undefined ? undefined : wholeNumber('limit', String(flags.limit), 1);
      return why(targetOf(flags), workspace, { isJson: flags.json === true, limit }, runtime);
    });
  withStateDir(
    program.command('backup').description('copy the database of the running coordinator, without secrets'),
  )
    .argument('<file>', 'the copy; must not exist')
    .action((file: string, _options, command: Command) =>
      backup(targetOf(flagValues(command)), file, runtime),
    );
}

function withConfigFlags(command: Command): Command {
  for (const [flag, spec] of Object.entries<FlagSpec>(FLAGS))
    command.addOption(optionOf(flag, spec).helpGroup(`${spec.group}:`));
  for (const number of SUPERVISION_FLAGS)
    command.addOption(numberOption(number).helpGroup('Daemons: start, stop and supervision:'));
  for (const number of LIMIT_FLAGS)
    command.addOption(numberOption(number).helpGroup('Limits of each daemon:'));
  return command.addHelpText('after', VARIABLES);
}

function withStateDir(command: Command): Command {
  const flag: FlagName = 'state-dir';
  const spec: FlagSpec = FLAGS[flag];
  return command.addOption(optionOf(flag, { ...spec, help: `${spec.help} [${flagVariable(flag)}]` }));
}

function optionOf(flag: string, { value, isRepeatable, help }: FlagSpec): Option {
  const argument = value === undefined ? '' : ` <${value}${isRepeatable === true ? '...' : ''}>`;
  const option = new Option(`--${flag}${argument}`, help);
  // One value each time, so that `--workspace a start` cannot swallow what follows.
  if (isRepeatable === true) {
    option.variadic = false;
    option.argParser((item: string, before: readonly string[] | undefined) => [...(before ?? []), item]);
  }
  return option;
}

function numberOption({ flag, value, fallback, help }: NumberFlag): Option {
  return new Option(`--${flag} <${value}>`, `${help} (${fallback})`);
}

/** Commander's values under the flags' own names. */
function flagValues(command: Command): FlagValues {
  const values = command.opts<Record<string, string | boolean | readonly string[]>>();
  return Object.fromEntries(
    command.options.map((option) => [option.long?.slice(2) ?? '', values[option.attributeName()]]),
  );
}
