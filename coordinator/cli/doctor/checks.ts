// The checks of `doctor` for what a coordinator needs: Node, directories, database, cgroups, agent. Each check reads the `Scene`
// and returns findings.
import { statfsSync } from 'node:fs';
import { isSupportedNode, SUPPORTED_NODE } from '../../domain/node-version.ts';
import { checkAgent } from '../../launch/agent-check.ts';
import { cgroupWords } from '../../launch/cgroup-probe.ts';
import { socketPathFor } from '../../launch/directories.ts';
import type { Runtime } from '../runtime.ts';
import type { Finding } from './finding.ts';
import type { Look, Scene } from './scene.ts';

/** With less free space a start of the coordinator is pointless; with less than `WARN_FREE_BYTES` it soon will be. */
const FAIL_FREE_BYTES = 64 * 1024 * 1024;
const WARN_FREE_BYTES = 1024 * 1024 * 1024;
const AGENT_CHECK_TIMEOUT_MS = 10_000;

/** The longest name that an incarnation will ever have, for the check of socket path lengths. */
const LONGEST_INCARNATION = `${'0'.repeat(16)}-99999999`;

export function nodeCheck(version: string): Finding {
  if (isSupportedNode(version)) return { check: 'node', level: 'ok', text: version };
  return {
    check: 'node',
    level: 'fail',
    text: `${version} is not supported`,
    remedy: `install ${SUPPORTED_NODE}`,
  };
}

export function stateDirCheck({ stateDir, stateDirNamed }: Scene): Finding {
  const check = 'state directory';
  if (stateDir.kind === 'bad') return { check, level: 'fail', text: stateDir.why };
  if (stateDir.kind === 'missing')
    return { check, level: 'ok', text: `${stateDirNamed} does not exist yet: the first start creates it` };
  return { check, text: stateDir.value, level: 'ok', ...spaceIn(stateDir.value) };
}

function spaceIn(path: string): Partial<Finding> {
  const { bavail, bsize } = statfsSync(path);
  const freeBytes = bavail * bsize;
  if (freeBytes >= WARN_FREE_BYTES) return {};
  const level = freeBytes < FAIL_FREE_BYTES ? 'fail' : 'warn';
  const text = `${path} has ${Math.round(freeBytes / 2 ** 20)} MiB of free space`;
  return { level, text, remedy: 'free some space: without it no session can be recorded' };
}

export function runtimeDirCheck({ runtimeDir, stateDir }: Scene): Finding {
  const check = 'runtime directory';
  if (runtimeDir.kind === 'bad') return { check, level: 'fail', text: runtimeDir.why };
  if (runtimeDir.kind === 'missing' || stateDir.kind !== 'found')
    return { check, level: 'ok', text: 'does not exist yet: a start creates it' };
  try {
    const bytes = Buffer.byteLength(socketPathFor(runtimeDir.value, LONGEST_INCARNATION));
    return { check, level: 'ok', text: `${runtimeDir.value} (socket paths up to ${bytes} bytes)` };
  } catch (error) {
    return { check, level: 'fail', text: (error as Error).message };
  }
}

export function databaseCheck({ database }: Scene): Finding {
  const check = 'database';
  if (database.kind === 'missing')
    return { check, level: 'ok', text: 'does not exist yet: the first start creates it' };
  if (database.kind === 'bad')
    return { check, level: 'fail', text: `cannot be read: ${database.why}`, remedy: RESTORE };
  const { problems, schemaVersion } = database.value;
  if (problems.length > 0) return { check, level: 'fail', text: problems.join('; '), remedy: RESTORE };
  return { check, level: 'ok', text: `sound, schema version ${schemaVersion}` };
}

const RESTORE = 'stop the coordinator, put a backup in its place, or use the release that wrote it';

export function coordinatorCheck({ coordinator }: Scene): Finding[] {
  const check = 'coordinator';
  if (coordinator.kind === 'missing')
    return [{ check, level: 'ok', text: 'none is running on this state directory' }];
  if (coordinator.kind === 'bad')
    return [
      {
        check,
        level: 'fail',
        text: coordinator.why,
        remedy: 'see its log; end it with "stop", or with a signal if that fails',
      },
    ];
  const { version, pid, warnings } = coordinator.value;
  const said = Array.isArray(warnings) ? warnings.map(String) : [];
  return [
    { check, level: 'ok', text: `version ${version} is running as pid ${pid}` },
    ...said.map((text): Finding => ({ check, level: 'warn', text })),
  ];
}

export function cgroupCheck({ cgroups, coordinator }: Scene): Finding {
  const check = 'control groups';
  const running = settingOf(coordinator, 'cgroups');
  const text = running ?? cgroupWords(cgroups);
  if (!text.startsWith('not used')) return { check, level: 'ok', text };
  const remedy =
    'processes that leave session, parent and environment at once can outlive their daemon; see docs/operations.md';
  return { check, level: 'warn', text, remedy };
}

/** Asks whether the agent can be run. @param agent the `--agent` setting to check while no coordinator runs. */
export async function agentCheck(scene: Scene, agent: string, runtime: Runtime): Promise<Finding> {
  const check = 'agent';
  const { command, problem } = await checkAgent({
    daemonCommand: runtime.daemonCommand,
    env: runtime.daemonEnv,
    agent: settingOf(scene.coordinator, 'agent') ?? agent,
    workspace: runtime.cwd,
    timeoutMs: AGENT_CHECK_TIMEOUT_MS,
  });
  if (command !== null && problem === null) return { check, level: 'ok', text: command.join(' ') };
  return { check, level: 'fail', text: problem ?? 'no runnable agent' };
}

function settingOf(coordinator: Look<Readonly<Record<string, unknown>>>, name: string): string | undefined {
  if (coordinator.kind !== 'found') return undefined;
  const value = (coordinator.value.config as Record<string, unknown> | undefined)?.[name];
  return typeof value === 'string' ? value : undefined;
}
