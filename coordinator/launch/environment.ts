// What a daemon, and through it the agent and everything that the agent runs, may see of the coordinator's environment.

/** The client token: with it an agent could act as any client on any workspace. */
const SECRETS = new Set(['QWEN_SERVER_TOKEN', 'QWEN_COORDINATOR_TOKEN']);

/** The coordinator's own settings. An agent that starts a coordinator must not configure it by accident. */
const SETTINGS_PREFIX = 'QWEN_COORDINATOR_';

/** The service manager's channel to the coordinator: a child that used it would speak for the service. */
const SERVICE_MANAGER =
  /^(?:NOTIFY_SOCKET|WATCHDOG_(?:USEC|PID)|LISTEN_(?:FDS|PID|FDNAMES|PIDFDID)|MANAGERPID)$/;

/**
 * A copy of `env` for daemons. NODE_OPTIONS stays: hosts set it for what every Node process there needs (certificates,
 * proxies, DNS order), the agent included. Flags meant for daemons only belong into the daemon command.
 */
export function strippedEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const kept = Object.entries(env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && isPassed(entry[0]),
  );
  return Object.fromEntries(kept);
}

function isPassed(name: string): boolean {
  return !SECRETS.has(name) && !name.startsWith(SETTINGS_PREFIX) && !SERVICE_MANAGER.test(name);
}
