// Which variables of the coordinator's environment a daemon gets. The agent and everything that the agent runs inherit them.

/** Variables with the token of clients: with it an agent could act as any client on any workspace. */
const SECRETS = new Set(['QWEN_SERVER_TOKEN', 'QWEN_COORDINATOR_TOKEN']);

/** Prefix of the variables that configure a coordinator. A coordinator that an agent starts must not inherit them by accident. */
const SETTINGS_PREFIX = 'QWEN_COORDINATOR_';

/** Variables by which systemd talks with the coordinator: a child that used them would speak for the service. */
const SERVICE_MANAGER =
  /^(?:NOTIFY_SOCKET|WATCHDOG_(?:USEC|PID)|LISTEN_(?:FDS|PID|FDNAMES|PIDFDID)|MANAGERPID)$/;

/**
 * A copy of `env` for daemons, without the variables above. NODE_OPTIONS stays: a host sets it for what every Node process on it
 * needs (certificates, proxies, DNS order), the agent included. Node flags for daemons only belong into the daemon command.
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
