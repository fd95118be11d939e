import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  ensureRuntimeDir,
  ensureStateDir,
  findStateDir,
  hasRuntimeDir,
  runtimeDirOf,
  socketPathFor,
  UnusablePath,
} from '../../../coordinator/launch/directories.ts';
import { MAX_SOCKET_PATH_BYTES } from '../../../daemon/contract/unix-socket.ts';
import { canChownTo } from '../../support/machine.ts';

const uid = process.getuid?.() ?? 0;
const STRANGER = 12_345;
let base: string;
beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'qc-dirs-')));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const modeOf = (path: string) => statSync(path).mode & 0o777;

describe('the state directory', () => {
  test('is made with its parents, for its owner only, and given back canonical', () => {
    mkdirSync(join(base, 'real'));
    symlinkSync(join(base, 'real'), join(base, 'link'));
    const made = ensureStateDir(join(base, 'link', 'a', 'state'));
    expect(made).toBe(join(base, 'real', 'a', 'state'));
    expect(modeOf(made)).toBe(0o700);
    expect(ensureStateDir(made)).toBe(made);
  });

  test.each([0o770, 0o707, 0o777])('is refused with mode %o, naming path, mode and remedy', (mode) => {
    const path = join(base, 'open');
    mkdirSync(path);
    chmodSync(path, mode);
    expect(() => ensureStateDir(path)).toThrow(`${path} (owner ${uid}, mode ${mode.toString(8)})`);
    expect(() => ensureStateDir(path)).toThrow(`chmod 700 '${path}'`);
  });

  test('may be readable by others: what is in it is not', () => {
    const path = join(base, 'readable');
    mkdirSync(path);
    chmodSync(path, 0o755);
    expect(ensureStateDir(path)).toBe(path);
  });

  test("of another user is refused by that user's id", () => {
    const path = join(base, 'theirs');
    mkdirSync(path, { mode: 0o700 });
    expect(() => ensureStateDir(path, uid + 1)).toThrow(`belongs to user ${uid}, this is user ${uid + 1}`);
  });
});

describe('looking for a state directory', () => {
  test('finds the canonical one, and makes none where there is none', () => {
    expect(findStateDir(join(base, 'none', 'here'))).toBeUndefined();
    expect(readdirSync(base)).toEqual([]);
    mkdirSync(join(base, 'state'), { mode: 0o700 });
    symlinkSync(join(base, 'state'), join(base, 'link'));
    expect(findStateDir(join(base, 'link'))).toBe(join(base, 'state'));
  });

  test("names the owner of another user's and does not tell to take it", () => {
    const look = () => findStateDir(base, uid + 1);
    expect(look).toThrow(
      `${base} belongs to user ${uid}, this is user ${uid + 1}: only a coordinator of that user`,
    );
    expect(look).not.toThrow('chown');
  });

  test('refuses one that is open to others, a file, and what is below a file', () => {
    const open = join(base, 'open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    const file = join(base, 'file');
    writeFileSync(file, '');
    for (const path of [open, file]) expect(() => findStateDir(path)).toThrow(UnusablePath);
    expect(() => ensureStateDir(join(file, 'below'))).toThrow(UnusablePath);
  });
});

describe('the runtime directory', () => {
  const ensure = (more: Partial<Parameters<typeof ensureRuntimeDir>[0]> = {}) =>
    ensureRuntimeDir({ xdgRuntimeDir: undefined, tmpDir: base, uid, stateDir: '/state', ...more });

  test('is under XDG_RUNTIME_DIR where there is one, every level for its owner only', () => {
    const path = ensure({ xdgRuntimeDir: base, tmpDir: '/nowhere' });
    expect(path).toMatch(new RegExp(`^${base}/qwen-coordinator/[0-9a-f]{12}$`));
    expect([modeOf(path), modeOf(join(path, '..'))]).toEqual([0o700, 0o700]);
    expect(ensure({ xdgRuntimeDir: base })).toBe(path);
  });

  test('is in the temporary directory where XDG_RUNTIME_DIR is unset or missing', () => {
    const expected = new RegExp(`^${base}/qwen-coordinator-${uid}/[0-9a-f]{12}$`);
    expect(ensure()).toMatch(expected);
    expect(ensure({ xdgRuntimeDir: join(base, 'logged-out') })).toMatch(expected);
  });

  test('differs by state directory', () => {
    expect(ensure()).not.toBe(ensure({ stateDir: '/other' }));
  });

  test('is looked for without being made, and is not trusted more than when it is made', () => {
    const options = { xdgRuntimeDir: undefined, tmpDir: base, uid, stateDir: '/state' };
    const path = runtimeDirOf(options);
    expect([hasRuntimeDir(path), readdirSync(base)]).toEqual([false, []]);
    expect(ensure()).toBe(path);
    expect(hasRuntimeDir(path)).toBe(true);
    chmodSync(path, 0o711);
    expect(() => hasRuntimeDir(path)).toThrow(`chmod 700 '${path}'`);
    expect(() => hasRuntimeDir(path, uid + 1)).toThrow(UnusablePath);
  });

  test('is refused when somebody put a link or a file in its place', () => {
    mkdirSync(join(base, 'trap'), { mode: 0o700 });
    symlinkSync(join(base, 'trap'), join(base, `qwen-coordinator-${uid}`));
    expect(() => ensure()).toThrow(/not a directory but a link/);
  });

  test('is refused when it is open to others', () => {
    const path = ensure();
    chmodSync(path, 0o750);
    expect(() => ensure()).toThrow(`chmod 700 '${path}'`);
  });

  (canChownTo(STRANGER) ? test : test.skip)('is refused when another user made it first', () => {
    mkdirSync(join(base, `qwen-coordinator-${uid}`), { mode: 0o700 });
    chownSync(join(base, `qwen-coordinator-${uid}`), STRANGER, STRANGER);
    expect(() => ensure()).toThrow(`belongs to user ${STRANGER}`);
  });
});

describe('a socket path', () => {
  test('is the incarnation in the runtime directory', () => {
    expect(socketPathFor('/run/x', '0123456789abcdef-7')).toBe('/run/x/0123456789abcdef-7.sock');
  });

  test('over 100 bytes is refused by path and length; bytes count, not characters', () => {
    const longest = `/${'r'.repeat(MAX_SOCKET_PATH_BYTES - '/a-1.sock'.length - 1)}`;
    expect(socketPathFor(longest, 'a-1')).toHaveLength(MAX_SOCKET_PATH_BYTES);
    expect(() => socketPathFor(`${longest}r`, 'a-1')).toThrow(
      `${longest}r/a-1.sock has 101 bytes, the limit is 100: set XDG_RUNTIME_DIR to a shorter directory`,
    );
    expect(() => socketPathFor(`/${'ü'.repeat(50)}`, 'a-1')).toThrow('110 bytes');
  });
});
