// Whether this coordinator may give each daemon a cgroup: found out once at start, by making one and killing a process in it.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { Cgroups } from './cgroup.ts';

export type CgroupProbe =
  | { readonly isUsable: true; readonly cgroups: Cgroups }
  /** `why` says what is missing. A daemon's tree is then found by process group, parent chain and incarnation. */
  | { readonly isUsable: false; readonly why: string };

/** The outcome of the probe in one line, for the operator. */
export function cgroupWords(probe: CgroupProbe): string {
  return probe.isUsable ? `one for each daemon in ${probe.cgroups.base}` : `not used: ${probe.why}`;
}

/** The files in which the kernel describes its cgroups, and the trial; tests replace all three. */
export interface CgroupSources {
  /** Path of a file in the format of /proc/self/cgroup. */
  readonly ownPath: string;
  /** Path of a file in the format of /proc/self/mountinfo. */
  readonly mountsPath: string;
  /** Moves a process into the cgroup directory `path` and kills it there. Returns why that failed, undefined on success. */
  readonly tryOut: (path: string) => string | undefined;
}

const KERNEL: CgroupSources = {
  ownPath: '/proc/self/cgroup',
  mountsPath: '/proc/self/mountinfo',
  tryOut: moveAndKill,
};

/**
 * Name of the inner cgroup in which a service runs the coordinator (systemd: `DelegateSubgroup=coordinator`). Only then is the
 * cgroup above it free of processes, which the kernel demands before the memory controller is enabled for daemons' cgroups.
 */
const OWN_LEAF = 'coordinator';

const TRY_OUT_TIMEOUT_MS = 2000;

/** Finds the directory for daemons' cgroups and tries it out. Never throws, leaves no directory behind, takes some 20 ms. */
export function probeCgroups(sources: CgroupSources = KERNEL): CgroupProbe {
  const own = /^0::(.*)$/m.exec(textOf(sources.ownPath))?.[1];
  const mount = cgroup2Mount(textOf(sources.mountsPath));
  if (own === undefined || mount === undefined)
    return unusable('there is no cgroup v2 file system (/proc/self/cgroup, /proc/self/mountinfo)');
  // "/.." leads out of the cgroup namespace, and a mount of a part without this process shows other groups.
  if (own.startsWith('/..') || !isWithin(own, mount.root))
    return unusable(`this process's cgroup ${own} is not below the mounted ${mount.root}`);
  if (mount.isReadOnly) return unusable(`${mount.point} is mounted read-only`);
  const group = resolve(mount.point, `.${own.slice(mount.root === '/' ? 0 : mount.root.length)}`);
  const base = basename(own) === OWN_LEAF ? dirname(group) : group;
  const problem = tryIn(base, sources);
  if (problem !== undefined) return unusable(problem);
  if (base !== group) handDownMemory(base);
  return { isUsable: true, cgroups: { mountPoint: mount.point, base } };
}

function tryIn(base: string, { tryOut }: CgroupSources): string | undefined {
  const path = join(base, `qwen-probe-${process.pid}`);
  try {
    mkdirSync(path);
  } catch (error) {
    return `no cgroup can be made in ${base}: ${codeOf(error)}`;
  }
  try {
    return tryOut(path);
  } finally {
    removeSoon(path);
  }
}

/**
 * A shell moves itself into the cgroup `path` and kills the cgroup: these two rights are all that a daemon's cgroup needs, and
 * no process is left whatever fails. Returns why it failed, undefined on success.
 */
function moveAndKill(path: string): string | undefined {
  const script = 'echo 0 > "$0/cgroup.procs" && echo 1 > "$0/cgroup.kill" && read never';
  const { error, signal, stderr } = spawnSync('/bin/sh', ['-c', script, path], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: TRY_OUT_TIMEOUT_MS,
    encoding: 'utf8',
  });
  if (error !== undefined) return `cgroups could not be probed: ${codeOf(error)}`;
  if (signal === 'SIGKILL') return undefined;
  return `a process could not be moved into a cgroup and killed there: ${stderr.trim() || 'it was not killed'}`;
}

/** Removes a cgroup in up to 50 attempts: the cgroup hears of its last process's end later than that process's parent. */
function removeSoon(path: string): void {
  const nap = new Int32Array(new SharedArrayBuffer(4));
  for (let attempt = 0; attempt < 50; attempt += 1) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return;
      Atomics.wait(nap, 0, 0, 2);
    }
  }
}

/** Enables the memory controller for cgroups in `base`. Where that fails, only the memory evidence of daemons is missing. */
function handDownMemory(base: string): void {
  try {
    writeFileSync(join(base, 'cgroup.subtree_control'), '+memory');
  } catch {
    // The controller is not delegated to this user, or `base` has a process: `DaemonCgroup.evidence` then gives nulls.
  }
}

interface Mount {
  /** The cgroup that the mount point shows; `/` when the whole hierarchy is mounted. */
  readonly root: string;
  readonly point: string;
  readonly isReadOnly: boolean;
}

/** The first cgroup2 mount of a mountinfo text, as in proc(5). */
function cgroup2Mount(text: string): Mount | undefined {
  for (const line of text.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, point, options] = before.split(' ');
    if (!after.startsWith('cgroup2 ') || root === undefined || point === undefined) continue;
    return { root, point, isReadOnly: options?.split(',').includes('ro') === true };
  }
  return undefined;
}

function isWithin(path: string, root: string): boolean {
  return root === '/' || path === root || path.startsWith(`${root}/`);
}

function unusable(why: string): CgroupProbe {
  return { isUsable: false, why };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // This system has no /proc.
    return '';
  }
}

function codeOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
