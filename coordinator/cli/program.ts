// The command line: which commands there are, and from their flags to one call each.
import { Command, CommanderError, Option } from 'commander';
import { type FlagValues, parseConfig, stateDirOf } from '../config.ts';
import { FLAGS, type FlagSpec, flagVariable, LIMIT_FLAGS, SUPERVISION_FLAGS } from '../flags.ts';
import type { AdminTarget } from './admin-client.ts';
import { demo } from './demo.ts';
import { doctor } from './doctor.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import type { Runtime } from './runtime.ts';
import { start } from './start.ts';
import { status } from './status.ts';
import { stop } from './stop.ts';
import { sweep } from './sweep.ts';

const STOP_WAIT_MS = 60_000;

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
        if (!(error instanceof CommanderError)) throw error;
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
      return stop(targetOf(flags), Number(flags.timeout), runtime);
    });
  withStateDir(
    program.command('sweep').description('end daemons that a coordinator which no longer runs has left'),
  ).action((_options, command: Command) => sweep(configOf(flagValues(command)), runtime));
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

function withConfigFlags(command: Command): Command {
  for (const [flag, spec] of Object.entries<FlagSpec>(FLAGS)) command.addOption(optionOf(flag, spec));
  for (const { flag, fallback } of SUPERVISION_FLAGS)
    command.addOption(numberOption(flag, fallback, 'supervision'));
  for (const { flag, fallback, help } of LIMIT_FLAGS)
    command.addOption(numberOption(flag, fallback, `of each daemon: ${help}`));
  return command;
}

function withStateDir(command: Command): Command {
  return command.addOption(optionOf('state-dir', FLAGS['state-dir']));
}

function optionOf(flag: string, { value, isRepeatable, help }: FlagSpec): Option {
  const argument = value === undefined ? '' : ` <${value}${isRepeatable === true ? '...' : ''}>`;
  const option = new Option(`--${flag}${argument}`, `${help} [${flagVariable(flag)}]`);
  // One value each time, so that `--workspace a start` cannot swallow what follows.
  if (isRepeatable === true) {
    option.variadic = false;
    option.argParser((item: string, before: readonly string[] | undefined) => [...(before ?? []), item]);
  }
  return option;
}

function numberOption(flag: string, fallback: number, help: string): Option {
  return new Option(`--${flag} <N>`, `${help} (${fallback})`);
}

/** Commander's values under the flags' own names. */
function flagValues(command: Command): FlagValues {
  const values = command.opts<Record<string, string | boolean | readonly string[]>>();
  return Object.fromEntries(
    command.options.map((option) => [option.long?.slice(2) ?? '', values[option.attributeName()]]),
  );
}
