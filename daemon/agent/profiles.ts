// Resolves the `--agent` setting (a profile's name or a command line) to the program to run, or to a message on what is missing.
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path';
import { DEFAULT_AGENT, splitCommandLine } from '../contract/command-line.ts';
import type { AgentDiagnosis } from './agent.ts';

export const DEMO_AGENT = 'demo';

/** The result of resolving `--agent`, with the variables that the profile adds to the agent's environment. */
export interface AgentProfile extends AgentDiagnosis {
  readonly env: Readonly<Record<string, string>>;
}

export interface ProfileLookup {
  /** Value of the environment variable PATH, in whose directories the agent's program is searched. */
  readonly path: string | undefined;
  /** Canonical workspace path. */
  readonly workspace: string;
  /** Directory of the daemon's own package, whose node_modules are searched after the workspace's. */
  readonly packageRoot: string;
  /** Path of the built demo agent. */
  readonly demoAgent: string;
  /** Directory of the demo agent's transcripts; undefined: the demo agent keeps them in memory. */
  readonly demoStateDir: string | undefined;
}

const CHOOSE = 'choose another agent with --agent "CMD ...", or try it out with --agent demo';
const QWEN_PACKAGE = '@qwen-code/qwen-code';

/**
 * Resolves the `--agent` setting. Reads the file system only, and anew at each call: an agent that was installed meanwhile is
 * found. Never throws: the result's `problem` says what is missing.
 */
export function resolveAgent(configured: string, lookup: ProfileLookup): AgentProfile {
  if (configured === DEFAULT_AGENT) return qwen(lookup);
  if (configured === DEMO_AGENT) return demo(lookup);
  return custom(configured, lookup);
}

function qwen(lookup: ProfileLookup): AgentProfile {
  // Without this variable the qwen CLI starts itself again as a child to raise its heap limit: twice the memory, and one more
  // process to end.
  const env = { QWEN_CODE_NO_RELAUNCH: '1' };
  const program = findOnPath('qwen', lookup.path);
  if (program !== undefined) return runnable(DEFAULT_AGENT, [program, '--acp'], env);
  const cli = findQwenCli([lookup.workspace, lookup.packageRoot]);
  if (cli !== undefined) return runnable(DEFAULT_AGENT, [process.execPath, cli, '--acp'], env);
  return missing(
    DEFAULT_AGENT,
    `the agent "qwen" is not installed: run npm install -g ${QWEN_PACKAGE}, ${CHOOSE}`,
  );
}

function demo(lookup: ProfileLookup): AgentProfile {
  if (!isFile(lookup.demoAgent))
    return missing(DEMO_AGENT, `the demo agent is not built: ${lookup.demoAgent} is missing (npm run build)`);
  const state = lookup.demoStateDir === undefined ? [] : ['--state-dir', lookup.demoStateDir];
  return runnable(DEMO_AGENT, [process.execPath, lookup.demoAgent, ...state], {});
}

function custom(configured: string, lookup: ProfileLookup): AgentProfile {
  let words: string[];
  try {
    words = splitCommandLine(configured);
  } catch (error) {
    return missing(configured, `--agent cannot be read as a command line: ${(error as Error).message}`);
  }
  const [word, ...args] = words;
  if (word === undefined || word === '') return missing(configured, `--agent is empty: ${CHOOSE}`);
  const program = findProgram(word, lookup);
  if (program === undefined)
    return missing(
      configured,
      `the agent's program "${word}" is not found or not executable: install it, ${CHOOSE}`,
    );
  return runnable(configured, [program, ...args], {});
}

function runnable(configured: string, command: readonly string[], env: AgentProfile['env']): AgentProfile {
  return { configured, command, problem: undefined, env };
}

function missing(configured: string, problem: string): AgentProfile {
  return { configured, command: undefined, problem, env: {} };
}

function findProgram(word: string, lookup: ProfileLookup): string | undefined {
  if (!word.includes('/')) return findOnPath(word, lookup.path);
  const program = resolve(lookup.workspace, word);
  return isExecutable(program) ? program : undefined;
}

/**
 * The first executable file of this name on the PATH. Relative entries of the PATH are skipped: they would run any file of that
 * name in the working directory.
 */
function findOnPath(name: string, path: string | undefined): string | undefined {
  return (path ?? '')
    .split(delimiter)
    .filter((entry) => isAbsolute(entry))
    .map((entry) => join(entry, name))
    .find(isExecutable);
}

/**
 * Finds the qwen package in the `node_modules` of these directories and their parents. Prefers the main CLI file to the package's
 * `bin`, which may be a launcher process between the daemon and the agent.
 */
function findQwenCli(from: readonly string[]): string | undefined {
  for (const dir of from.flatMap(withParents)) {
    const root = join(dir, 'node_modules', QWEN_PACKAGE);
    const found = [join(root, 'cli.js'), ...binsOf(root)].find(isFile);
    if (found !== undefined) return found;
  }
  return undefined;
}

function binsOf(packageRoot: string): string[] {
  try {
    const { bin } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { bin?: unknown };
    const entries = typeof bin === 'object' && bin !== null ? Object.values(bin) : [bin];
    return entries.filter((entry) => typeof entry === 'string').map((entry) => join(packageRoot, entry));
  } catch {
    // The qwen package is not installed in this `node_modules`.
    return [];
  }
}

function withParents(dir: string): string[] {
  const parent = dirname(dir);
  return parent === dir ? [dir] : [dir, ...withParents(parent)];
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    // The file is missing, or in a directory that this user may not enter.
    return false;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    // The file is missing, or this user may not execute it: the search goes on.
    return false;
  }
}
