import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type ProfileLookup, resolveAgent } from '../../../daemon/agent/profiles.ts';
import { splitCommandLine } from '../../../daemon/contract/command-line.ts';

let root: string;
let lookup: ProfileLookup;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'profiles-'));
  lookup = {
    path: join(root, 'bin'),
    workspace: join(root, 'workspace', 'deep'),
    packageRoot: join(root, 'package'),
    demoAgent: join(root, 'demo.js'),
    demoStateDir: undefined,
  };
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function place(path: string, mode = 0o644, text = ''): string {
  const full = join(root, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, text);
  chmodSync(full, mode);
  return full;
}

describe('qwen', () => {
  test('is the program on the PATH where there is one', () => {
    const program = place('bin/qwen', 0o755);
    place('workspace/node_modules/@qwen-code/qwen-code/cli.js');
    expect(resolveAgent('qwen', lookup)).toMatchObject({ command: [program, '--acp'], problem: undefined });
  });

  test('is not a file that cannot be executed, nor one in a relative entry of the PATH', () => {
    place('bin/qwen', 0o644);
    expect(resolveAgent('qwen', { ...lookup, path: `.:${lookup.path}` }).command).toBeUndefined();
  });

  test("is else the package's main file, from the workspace upwards before our own package", () => {
    const own = place('package/node_modules/@qwen-code/qwen-code/cli.js');
    expect(resolveAgent('qwen', lookup).command).toEqual([process.execPath, own, '--acp']);
    const project = place('workspace/node_modules/@qwen-code/qwen-code/cli.js');
    expect(resolveAgent('qwen', lookup).command).toEqual([process.execPath, project, '--acp']);
  });

  test('is the bin of a package without that file', () => {
    const bin = place('package/node_modules/@qwen-code/qwen-code/dist/index.js');
    place(
      'package/node_modules/@qwen-code/qwen-code/package.json',
      0o644,
      '{"bin":{"qwen":"dist/index.js"}}',
    );
    expect(resolveAgent('qwen', lookup).command).toEqual([process.execPath, bin, '--acp']);
  });

  test('that is nowhere is explained with what to install or choose', () => {
    const { command, problem } = resolveAgent('qwen', lookup);
    expect(command).toBeUndefined();
    expect(problem).toContain('npm install -g @qwen-code/qwen-code');
    expect(problem).toContain('--agent "CMD ..."');
    expect(problem).toContain('--agent demo');
  });
});

test('demo runs the built file, with a directory for its transcripts where one is given', () => {
  expect(resolveAgent('demo', lookup).problem).toContain('npm run build');
  const built = place('demo.js');
  expect(resolveAgent('demo', lookup).command).toEqual([process.execPath, built]);
  expect(resolveAgent('demo', { ...lookup, demoStateDir: '/state' }).command).toEqual([
    process.execPath,
    built,
    '--state-dir',
    '/state',
  ]);
});

describe('a command line', () => {
  test('is split and its program is looked up on the PATH or from the workspace', () => {
    const onPath = place('bin/my-agent', 0o755);
    const local = place('workspace/deep/tools/agent', 0o755);
    expect(resolveAgent(`my-agent --name "a b" ''`, lookup).command).toEqual([onPath, '--name', 'a b', '']);
    expect(resolveAgent('./tools/agent', lookup).command).toEqual([local]);
  });

  test.each([
    ['nothing-like-it --acp', '"nothing-like-it" is not found'],
    ['./missing', '"./missing" is not found'],
    ['', 'is empty'],
    ['   ', 'is empty'],
    ['agent "open', 'the quote " is not closed'],
    ['agent end\\', 'ends in a backslash'],
  ])('%j is explained', (configured, words) => {
    const { command, problem } = resolveAgent(configured, lookup);
    expect(command).toBeUndefined();
    expect(problem).toContain(words);
  });
});

describe('splitting', () => {
  test.each([
    ['a  b\tc\n', ['a', 'b', 'c']],
    [`a'b c'"d e"f`, ['ab cd ef']],
    [String.raw`a\ b "c\"d\\e\n" 'f\'`, ['a b', String.raw`c"d\e\n`, 'f\\']],
    ['"$HOME" ; | `x` $(y)', ['$HOME', ';', '|', '`x`', '$(y)']],
    [`"" ''`, ['', '']],
  ])('%j gives %j', (line, words) => {
    expect(splitCommandLine(line)).toEqual(words);
  });

  test('gives back any words that were single-quoted', () => {
    const words = fc.array(fc.string({ unit: 'grapheme' }).map((word) => word.replaceAll("'", '')));
    fc.assert(
      fc.property(words, (expected) => {
        expect(splitCommandLine(expected.map((word) => `'${word}'`).join(' '))).toEqual(expected);
      }),
    );
  });
});
