// `qwen-coordinator start`: runs a coordinator in the foreground until a signal or `stop` ends it.

import { isLoopbackAddress, urlHost } from '../../daemon/contract/access.ts';
import type { Log } from '../../daemon/contract/log.ts';
import { Coordinator } from '../app.ts';
import type { Config } from '../config.ts';
import { requireDriver } from '../store/driver.ts';
import { CommandError, EXIT, type ExitCode } from './exit-codes.ts';
import { refusalOf } from './refusal.ts';
import type { Runtime } from './runtime.ts';

type StartRuntime = Omit<Runtime, 'cwd' | 'print'>;

/** Resolves with the exit code once the coordinator has ended. @throws CommandError when the start is refused. */
export async function start(config: Config, runtime: StartRuntime): Promise<ExitCode> {
  const log = runtime.createLog(config.logLevel);
  const run = new Run(log);
  const { version, daemonCommand, daemonEnv, runtimeBases, openapiPath } = runtime;
  const requestStop = (reason: string, leavesDaemons: boolean) => run.end(reason, leavesDaemons);
  let coordinator: Coordinator;
  try {
    // A missing driver is reported before the first directory is made.
    requireDriver();
    coordinator = Coordinator.open({
      config,
      version,
      daemonCommand,
      daemonEnv,
      runtimeBases,
      openapiPath,
      log,
      requestStop,
    });
    run.attach(coordinator);
    await coordinator.start();
  } catch (error) {
    throw startRefusal(error);
  }
  announce(config, coordinator, runtime, log);
  return run.ended;
}

/** Codes of system errors which mean that an address or a directory of the configuration cannot be used. */
const UNUSABLE: ReadonlySet<string> = new Set([
  'EACCES',
  'EADDRNOTAVAIL',
  'EAI_AGAIN',
  'EAFNOSUPPORT',
  'EINVAL',
  'ENOTFOUND',
  'ENOTSOCK',
  'EROFS',
]);

function startRefusal(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE')
    return new CommandError(
      EXIT.taken,
      `${message}: stop what listens there, or choose another --port or --socket`,
    );
  if (code !== undefined && UNUSABLE.has(code)) return new CommandError(EXIT.usage, message);
  return refusalOf(error);
}

/** Prints where the coordinator listens and for which workspaces, and warns when every local user can use it. */
function announce(
  config: Config,
  coordinator: Coordinator,
  { say, version }: Pick<Runtime, 'say' | 'version'>,
  log: Log,
): void {
  const { listen, workspaces, roots, token } = config;
  const where = listen.kind === 'unix' ? listen.path : `http://${urlHost(listen.host)}:${coordinator.port}`;
  say(`qwen-coordinator ${version} listening on ${where}, state in ${coordinator.stateDir}\n`);
  for (const [index, path] of workspaces.entries())
    say(`  workspace ${path}${index === 0 ? ' (primary)' : ''}\n`);
  for (const path of roots) say(`  root ${path} (workspaces under it are opened on first demand)\n`);
  const isOpenToLocalUsers = listen.kind === 'tcp' && isLoopbackAddress(listen.host) && token === undefined;
  if (isOpenToLocalUsers)
    log.warn(
      'no token is set: every user of this machine can drive the agents. Set --token, or listen on --socket, which only you can open.',
    );
}

/** Ends one run of the coordinator: the first signal or `stop` in order, a second signal at once. */
class Run {
  readonly #log: Log;
  /** Resolves with the exit code when the coordinator has ended. */
  readonly ended: Promise<ExitCode>;
  #finish: (code: ExitCode) => void = () => undefined;
  #coordinator: Coordinator | undefined;
  #isEnding = false;

  constructor(log: Log) {
    this.#log = log;
    this.ended = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Makes SIGTERM and SIGINT end the coordinator from now on. */
  attach(coordinator: Coordinator): void {
    this.#coordinator = coordinator;
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.on(signal, () => (this.#isEnding ? this.#kill(signal) : this.end(signal)));
    // A terminal that closes must not end a service: only `stop`, SIGTERM and SIGINT do.
    process.on('SIGHUP', () => this.#log.info('SIGHUP ignored'));
  }

  /** Begins the orderly end. Does nothing while an end is under way. */
  end(reason: string, leavesDaemons = false): void {
    const coordinator = this.#coordinator;
    if (this.#isEnding || coordinator === undefined) return;
    this.#isEnding = true;
    this.#log.info({ reason, leavesDaemons }, 'stopping');
    const end = leavesDaemons ? coordinator.leave() : coordinator.stop();
    end.then(
      () => this.#finish(leavesDaemons ? EXIT.left : EXIT.ok),
      (error: unknown) => {
        this.#log.fatal({ err: error }, 'orderly stop failed: killing the daemons');
        coordinator.killNow();
        this.#finish(EXIT.unexpected);
      },
    );
  }

  #kill(signal: string): void {
    this.#log.warn({ signal }, 'second signal: killing every daemon now');
    this.#coordinator?.killNow();
    this.#finish(EXIT.killed);
  }
}
