import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readTextFile, writeTextFile } from '../../../daemon/agent/workspace-files.ts';

let root: string;
let workspace: string;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'files-')));
  workspace = join(root, 'work');
  mkdirSync(workspace);
  mkdirSync(join(root, 'outside'));
  writeFileSync(join(root, 'outside', 'secret'), 'secret');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const write = (path: string, content = 'text') => writeTextFile(workspace, { path, content });
const read = (path: string, more = {}) => readTextFile(workspace, { path, ...more });
const leadsOut = { code: -32602, data: { errorKind: 'path_outside_workspace' } };

describe('a path that leads out of the workspace is refused, for reading and for writing:', () => {
  test.each([
    ['an absolute one', () => join(root, 'outside', 'secret')],
    ['one with dots', () => `${workspace}/sub/../../outside/secret`],
    ['a sibling with the same prefix', () => `${workspace}-2/file`],
    [
      'a symlink to a file',
      () => {
        symlinkSync(join(root, 'outside', 'secret'), join(workspace, 'link'));
        return join(workspace, 'link');
      },
    ],
    [
      'a file to be made behind a symlink to a directory',
      () => {
        symlinkSync(join(root, 'outside'), join(workspace, 'dir'));
        return join(workspace, 'dir', 'new', 'file');
      },
    ],
  ])('%s', async (_, make) => {
    const path = make();
    await expect(write(path)).rejects.toMatchObject(leadsOut);
    await expect(read(path)).rejects.toMatchObject(leadsOut);
    expect(readdirSync(join(root, 'outside'))).toEqual(['secret']);
    expect(readFileSync(join(root, 'outside', 'secret'), 'utf8')).toBe('secret');
  });
});

test.each(['relative/file', '', '/with\0zero'])('the path %j is refused', async (path) => {
  await expect(write(path)).rejects.toMatchObject({ code: -32602, data: { errorKind: 'invalid_path' } });
});

test('a symlink that dangles out of the workspace is replaced, not followed', async () => {
  symlinkSync(join(root, 'outside', 'not-yet'), join(workspace, 'link'));
  await write(join(workspace, 'link'));
  expect(readdirSync(join(root, 'outside'))).toEqual(['secret']);
  expect(readFileSync(join(workspace, 'link'), 'utf8')).toBe('text');
});

test('a symlink inside the workspace is followed', async () => {
  writeFileSync(join(workspace, 'real'), 'old');
  symlinkSync('real', join(workspace, 'link'));
  await write(join(workspace, 'link'), 'new');
  expect(readFileSync(join(workspace, 'real'), 'utf8')).toBe('new');
});

test('a write makes missing directories, keeps the mode and leaves no draft behind', async () => {
  const path = join(workspace, 'a', 'b', 'run.sh');
  await write(path, 'one');
  chmodSync(path, 0o755);
  await write(path, '\uFEFFtwo');
  expect(readFileSync(path, 'utf8')).toBe('\uFEFFtwo');
  expect(statSync(path).mode & 0o777).toBe(0o755);
  expect(readdirSync(join(workspace, 'a', 'b'))).toEqual(['run.sh']);
});

test('a write onto a directory is refused and changes nothing', async () => {
  mkdirSync(join(workspace, 'dir'));
  await expect(write(join(workspace, 'dir'))).rejects.toMatchObject({ data: { errorKind: 'not_a_file' } });
  await expect(write(workspace)).rejects.toMatchObject({ data: { errorKind: 'not_a_file' } });
  expect(readdirSync(workspace)).toEqual(['dir']);
});

test.each([
  [{}, 'a\nb\nc\n'],
  [{ line: 2 }, 'b\nc\n'],
  [{ limit: 2 }, 'a\nb'],
  [{ line: 2, limit: 1 }, 'b'],
  [{ line: 9 }, ''],
  [{ line: null, limit: null }, 'a\nb\nc\n'],
])('reading with %j gives %j', async (range, content) => {
  const path = join(workspace, 'file');
  writeFileSync(path, 'a\nb\nc\n');
  await expect(read(path, range)).resolves.toEqual({ content });
});

test.each([{ line: -1 }, { limit: 1.5 }, { line: '1' }])('reading with %j is refused', async (range) => {
  await expect(read(join(workspace, 'file'), range)).rejects.toMatchObject({ code: -32602 });
});

test('a missing file is "resource not found"', async () => {
  await expect(read(join(workspace, 'nothing'))).rejects.toMatchObject({
    code: -32002,
    data: { errorKind: 'ENOENT' },
  });
});

test('a pipe is refused instead of waited for', async () => {
  const path = join(workspace, 'pipe');
  execFileSync('mkfifo', [path]);
  await expect(read(path)).rejects.toMatchObject({ data: { errorKind: 'not_a_file' } });
  await expect(write(path)).rejects.toMatchObject({ data: { errorKind: 'not_a_file' } });
});

test('params of another type are refused', async () => {
  await expect(writeTextFile(workspace, { path: 1, content: 'x' })).rejects.toMatchObject({ code: -32602 });
  await expect(writeTextFile(workspace, { path: join(workspace, 'x') })).rejects.toMatchObject({
    code: -32602,
  });
});
