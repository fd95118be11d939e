// The command line: defines every command, and calls the command's function with the values of its flags.
import { Command, CommanderError } from 'commander';
import { DEFAULT_AGENT } from '../../daemon/contract/command-line.ts';
import type { FlagValues } from '../../daemon/contract/flag-values.ts';
import { parseConfig, parseSweepConfig, stateDirOf } from '../config.ts';
import { FlagSource } from '../flag-source.ts';
import { FLAGS } from '../flags.ts';
import type { AdminTarget } from './admin-socket.ts';
import { backup } from './backup.ts';
import { demo } from './demo.ts';
import { doctor } from './doctor.ts';
import { CommandError, EXIT, type ExitCode } from './exit-codes.ts';
import { drain, restart, setWorkspace, undrain } from './operate.ts';
import { flagValues, numberOf, optionOf, withConfigFlags, withStateDir, withSweepFlags } from './options.ts';
import { refusalOf } from './refusal.ts';
import type { Runtime } from './runtime.ts';
import { start } from './start.ts';
import { showStatus } from './status.ts';
import { stop } from './stop.ts';
import { sweep } from './sweep.ts';
import { why } from './why.ts';

const STOP_WAIT_MS = 60_000;

export interface Program {
  /** Runs the command in `argv`. @returns the exit code. @throws CommandError, ConfigError */
  run(argv: readonly string[]): Promise<ExitCode>;
}

/** The parts that the actions of commands share. */
interface Scene {
  readonly program: Command;
  readonly runtime: Runtime;
  readonly env: NodeJS.ProcessEnv;
  readonly targetOf: (flags: FlagValues) => AdminTarget;
  /** Sets the exit code of the process; `ok` for a command that does not call it. */
  readonly ended: (code: ExitCode) => void;
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
        // Commander has printed the help, the version or its error message already.
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
  const targetOf = (flags: FlagValues): AdminTarget => ({
    stateDir: stateDirOf(flags['state-dir'] as string | undefined, env, runtime.cwd),
    runtimeBases: runtime.runtimeBases,
  });
  const scene: Scene = { program, runtime, env, targetOf, ended };
  addRunning(scene);
  addOperations(scene);
  addRecords(scene);
  addChecks(scene);
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

/** The commands that start and end a coordinator, and show whether one runs. */
function addRunning({ program, runtime, env, targetOf, ended }: Scene): void {
  withConfigFlags(program.command('start').description('run a coordinator in the foreground')).action(
    async (_options, command: Command) =>
      ended(await start(parseConfig(flagValues(command), env, runtime.cwd), runtime)),
  );
  withStateDir(program.command('status').description('show whether a coordinator runs, and its workspaces'))
    .option('--json', 'print JSON')
    .action((_options, command: Command) => {
      const flags = flagValues(command);
      return showStatus(targetOf(flags), flags.json === true, runtime);
    });
  withStateDir(program.command('stop').description('end the running coordinator and its daemons'))
    .option('--timeout <MS>', 'how long to wait for the end', String(STOP_WAIT_MS))
    .option('--leave-daemons', 'end the coordinator alone; the next one takes its daemons over')
    .action((_options, command: Command) => {
      const flags = flagValues(command);
      const timeoutMs = numberOf(flags, 'timeout') ?? STOP_WAIT_MS;
      const leavesDaemons = flags['leave-daemons'] === true;
      return stop(targetOf(flags), { timeoutMs, leavesDaemons }, runtime);
    });
  withSweepFlags(
    program.command('sweep').description('end daemons left behind by a coordinator that no longer runs'),
  ).action((_options, command: Command) =>
    sweep(parseSweepConfig(flagValues(command), env, runtime.cwd), runtime),
  );
}

/** The commands that change workspaces and daemons of the running coordinator. */
function addOperations({ program, runtime, targetOf }: Scene): void {
  withStateDir(program.command('drain').description('refuse new work, let turns finish, stop the daemon'))
    .argument('<workspace>', 'directory or id')
    .option('--reason <TEXT>', 'what clients are told')
    .option('--drain-ms <MS>', 'how long turns may continue')
    .action((workspace: string, _options, command: Command) => {
      const flags = flagValues(command);
      const reason = flags.reason === undefined ? undefined : String(flags.reason);
      return drain(targetOf(flags), workspace, { reason, drainMs: numberOf(flags, 'drain-ms') }, runtime);
    });
  withStateDir(program.command('undrain').description('accept work again'))
    .argument('<workspace>', 'directory or id')
    .action((workspace: string, _options, command: Command) =>
      undrain(targetOf(flagValues(command)), workspace, runtime),
    );
  withStateDir(program.command('restart').description('replace daemons after their turns, one by one'))
    .argument('[workspace]', 'directory or id; all running ones if omitted')
    .option('--rolling', 'all running ones, the same as no workspace; not with one')
    .option('--at-once <N>', 'daemons that are replaced at the same time (1); not with a workspace')
    .option('--drain-ms <MS>', 'how long turns may continue')
    .action((workspace: string | undefined, _options, command: Command) => {
      const flags = flagValues(command);
      const options = { atOnce: numberOf(flags, 'at-once', 1), drainMs: numberOf(flags, 'drain-ms') };
      if (workspace !== undefined) refuseFleetFlags(flags, workspace);
      return restart(targetOf(flags), workspace, options, runtime);
    });
  const workspace = program.command('workspace').description('settings of a workspace');
  withStateDir(
    workspace.command('set').description('idleTimeout=<ms> pinned=true|false, kept across restarts'),
  )
    .argument('<workspace>', 'directory or id')
    .argument('<settings...>', 'name=value; an empty value restores the default')
    .action((name: string, settings: string[], _options, command: Command) =>
      setWorkspace(targetOf(flagValues(command)), name, settings, runtime),
    );
}

/**
 * Refuses `--rolling` and `--at-once` next to a workspace.
 * @throws CommandError `usage`: a person who names one workspace must not get the whole fleet restarted.
 */
function refuseFleetFlags(flags: FlagValues, workspace: string): void {
  const given = ['rolling', 'at-once'].find((flag) => flags[flag] !== undefined);
  if (given !== undefined)
    throw new CommandError(
      EXIT.usage,
      `--${given} restarts every running daemon, but one workspace is named (${workspace}): give only one of the two`,
    );
}

/** The commands that read what the running coordinator has recorded. */
function addRecords({ program, runtime, targetOf }: Scene): void {
  withStateDir(program.command('why').description('show the state of a workspace, and what led to it'))
    .argument('<workspace>', 'directory or id')
    .option('--json', 'print JSON, with every event in full')
    .option('--limit <N>', 'number of events to show, the newest (50)')
    .action((workspace: string, _options, command: Command) => {
      const flags = flagValues(command);
      const limit = numberOf(flags, 'limit', 1);
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

/** The command that checks an installation: `doctor`. */
function addChecks({ program, runtime, env, targetOf, ended }: Scene): void {
  withStateDir(
    program.command('doctor').description('check what a coordinator needs, and look for leftovers'),
  )
    .addOption(optionOf('agent', FLAGS.agent))
    .option('--reap', 'end processes that are verified leftovers of ended daemons')
    .option('--json', 'print JSON')
    .action(async (_options, command: Command) => {
      const flags = flagValues(command);
      const options = {
        isReaping: flags.reap === true,
        isJson: flags.json === true,
        agent: new FlagSource(flags, env).text('agent') ?? DEFAULT_AGENT,
      };
      ended(await doctor(targetOf(flags), options, runtime));
    });
}
