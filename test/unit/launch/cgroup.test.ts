import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { cgroupNameOf, DaemonCgroup, findCgroup } from '../../../coordinator/launch/cgroup.ts';
import { type CgroupSources, cgroupWords, probeCgroups } from '../../../coordinator/launch/cgroup-probe.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'qc-cgroup-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const MARK = {
  incarnation: '00000000000000aa-3',
  socketPath: '/run/q/00000000000000aa-3.sock',
  bootId: 'boot',
  pid: 0,
  startTime: 0,
  logPath: '/log',
};

/** A directory that looks like a cgroup. Unlike a real one it cannot be removed while its files are there. */
function group(path: string, files: Readonly<Record<string, string>> = {}): string {
  mkdirSync(path, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

describe('the probe', () => {
  const tried: string[] = [];
  beforeEach(() => {
    tried.length = 0;
  });

  function sources(own: string, mounts: string, tryOut: CgroupSources['tryOut'] = () => undefined) {
    const ownPath = join(dir, 'own');
    const mountsPath = join(dir, 'mounts');
    writeFileSync(ownPath, own);
    writeFileSync(mountsPath, mounts);
    const kept = (path: string) => {
      tried.push(path);
      return tryOut(path);
    };
    return { ownPath, mountsPath, tryOut: kept };
  }
  const mount = (root = '/', options = 'rw,relatime') =>
    `25 30 0:22 / /proc rw - proc proc rw\n35 25 0:31 ${root} ${dir} ${options} shared:9 - cgroup2 cgroup2 rw\n`;

  test('takes this process’s own cgroup, tries it out there and leaves no directory', () => {
    group(join(dir, 'service'));
    expect(probeCgroups(sources('4:memory:/x\n0::/service\n', mount()))).toEqual({
      isUsable: true,
      cgroups: { mountPoint: dir, base: join(dir, 'service') },
    });
    expect(tried).toEqual([join(dir, 'service', `qwen-probe-${process.pid}`)]);
    expect(readdirSync(join(dir, 'service'))).toEqual([]);
  });

  test('takes the level above a leaf called coordinator, and hands the memory controller down there', () => {
    group(join(dir, 'service/coordinator'));
    const probe = probeCgroups(sources('0::/service/coordinator\n', mount()));
    expect(probe).toMatchObject({ cgroups: { base: join(dir, 'service') } });
    expect(readFileSync(join(dir, 'service/cgroup.subtree_control'), 'utf8')).toBe('+memory');
  });

  test('changes no controller where the coordinator is not in a leaf of its own', () => {
    probeCgroups(sources('0::/\n', mount()));
    expect(existsSync(join(dir, 'cgroup.subtree_control'))).toBe(false);
  });

  test('counts from the part that is mounted', () => {
    group(join(dir, 'inner'));
    const probe = probeCgroups(sources('0::/pod/inner\n', mount('/pod')));
    expect(probe).toMatchObject({ cgroups: { base: join(dir, 'inner') } });
  });

  test.each([
    ['no cgroup v2', '4:memory:/x\n', /no cgroup v2/],
    ['a cgroup outside the namespace', '0::/../other\n', /not below the mounted/],
    ['a cgroup that is not there', '0::/gone\n', /no cgroup can be made in .*gone: ENOENT/],
  ])('says why: %s', (_, own, why) => {
    expect(probeCgroups(sources(own, mount()))).toEqual({
      isUsable: false,
      why: expect.stringMatching(why),
    });
  });

  test('says why: nothing mounted, another part mounted, mounted read-only', () => {
    const whyOf = (mounts: string) => cgroupWords(probeCgroups(sources('0::/service\n', mounts)));
    expect(whyOf('')).toMatch(/not used: there is no cgroup v2/);
    expect(whyOf(mount('/serv'))).toMatch(/not below the mounted/);
    expect(whyOf(mount('/', 'ro,relatime'))).toMatch(/read-only/);
  });

  test('believes the attempt, not the looks, and cleans up after it all the same', () => {
    const probe = probeCgroups(sources('0::/\n', mount(), () => 'EPERM on the move'));
    expect(probe).toEqual({ isUsable: false, why: 'EPERM on the move' });
    expect(readdirSync(dir).filter((name) => name.startsWith('qwen-'))).toEqual([]);
  });
});

describe('a daemon’s cgroup', () => {
  test('has one name for each incarnation and directory of sockets', () => {
    const name = cgroupNameOf(MARK);
    expect(name).toMatch(/^qwen-[0-9a-f]{8}-00000000000000aa-3$/);
    expect(cgroupNameOf({ ...MARK, socketPath: '/run/other/00000000000000aa-3.sock' })).not.toBe(name);
    expect(cgroupNameOf({ ...MARK, incarnation: '00000000000000aa-4' })).not.toBe(name);
  });

  test('is found by its name, and a process in another cgroup does not stand for it', () => {
    const cgroups = { mountPoint: dir, base: dir };
    expect(findCgroup(cgroups, { ...MARK, pid: process.pid })).toBeUndefined();
    group(join(dir, cgroupNameOf(MARK)));
    expect(findCgroup(cgroups, MARK)?.path).toBe(join(dir, cgroupNameOf(MARK)));
  });

  test('has the members of the groups below it, but never this process', () => {
    const path = group(join(dir, 'g'), { 'cgroup.procs': `${process.ppid}\n999999999\n` });
    group(join(path, 'inner/most'), { 'cgroup.procs': `1\n${process.pid}\n` });
    const pids = new DaemonCgroup(path).members().map(({ pid }) => pid);
    expect(pids).toEqual([process.ppid, 1]);
  });

  test('is not killed as a whole with this process inside', () => {
    const path = group(join(dir, 'g'), { 'cgroup.procs': `${process.pid}\n` });
    new DaemonCgroup(path).kill();
    expect(existsSync(join(path, 'cgroup.kill'))).toBe(false);
    writeFileSync(join(path, 'cgroup.procs'), '');
    new DaemonCgroup(path).kill();
    expect(readFileSync(join(path, 'cgroup.kill'), 'utf8')).toBe('1');
  });

  test('tells oom kills and the peak of memory, and null where the kernel does not', () => {
    const path = group(join(dir, 'g'), {
      'memory.events': 'low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n',
      'memory.peak': '104857600\n',
    });
    expect(new DaemonCgroup(path).evidence()).toEqual({ oomKills: 1, peakBytes: 104_857_600 });
    expect(new DaemonCgroup(join(dir, 'none')).evidence()).toEqual({ oomKills: null, peakBytes: null });
  });

  test('is removed with the groups in it, twice if need be, and not while something holds it', () => {
    const held = group(join(dir, 'held'), { 'cgroup.procs': '' });
    expect(new DaemonCgroup(held).remove()).toBe(false);
    const empty = group(join(dir, 'empty/inner/most'));
    expect(new DaemonCgroup(join(dir, 'empty')).remove()).toBe(true);
    expect(existsSync(empty)).toBe(false);
    expect(new DaemonCgroup(join(dir, 'empty')).remove()).toBe(true);
  });

  test('loses none of the groups in it while a process is anywhere inside', () => {
    const path = group(join(dir, 'busy'), { 'cgroup.events': 'populated 1\nfrozen 0\n' });
    const inner = group(join(path, 'inner'));
    expect(new DaemonCgroup(path).remove()).toBe(false);
    expect(existsSync(inner)).toBe(true);
  });
});
