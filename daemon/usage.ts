// The help text of qwen-daemon. Its limits and choices come from the same lists by which the configuration is checked.
import { DEFAULT_AGENT } from './contract/command-line.ts';
import { choicesOf } from './contract/flag-values.ts';
import { LIMIT_NAMES, LIMITS } from './contract/limits.ts';
import { DEFAULT_LOG_LEVEL, LOG_LEVELS } from './contract/log.ts';
import { DEFAULT_PERMISSION_POLICY, PERMISSION_POLICIES } from './contract/wire.ts';

/** The text that `--help` prints, ending in a line break. */
export function usage(): string {
  const limits = LIMIT_NAMES.map((name) => {
    const { flag, fallback, help } = LIMITS[name];
    return `  --${flag.padEnd(40)} ${help} (${fallback})`;
  });
  return `qwen-daemon --workspace DIR [flags]

Serves one workspace over HTTP and server-sent events, with one ACP agent behind it.

  --workspace DIR        absolute path of the workspace (required)
  --port N               TCP port (4170); 0 picks a free one
  --hostname HOST        address to bind (127.0.0.1)
  --socket PATH          listen on a unix socket instead
  --token TOKEN          bearer that clients must send (or QWEN_SERVER_TOKEN)
  --require-auth         require the bearer on loopback and for /health too
  --allow-origin ORIGIN  browser origin that may call; repeatable, "*" for any
  --agent AGENT          "${DEFAULT_AGENT}" (default), "demo", or a command line
  --state-dir DIR        where the daemon keeps transcripts ($XDG_STATE_HOME/qwen-daemon/<workspace id>)
  --permission-policy P  ${choicesOf(PERMISSION_POLICIES, DEFAULT_PERMISSION_POLICY)}
  --consensus-quorum N   votes that decide under the consensus policy
  --rate-limit           limit requests per client
  --log-level LEVEL      ${choicesOf(LOG_LEVELS, DEFAULT_LOG_LEVEL)}
  --check-agent          print as JSON which agent would run, or what is missing, and exit
  --help, --version

Limits, with their defaults (times in ms, sizes in bytes):
${limits.join('\n')}
`;
}
