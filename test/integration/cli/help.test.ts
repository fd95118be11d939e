// `start --help`: every flag is explained, and each can be found under the heading of what it is about.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { FLAGS, LIMIT_FLAGS, SUPERVISION_FLAGS } from '../../../coordinator/flags.ts';
import { runCommand } from '../../support/command-line.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch(0);
});
afterEach(() => scratch.remove());

const help = async (...args: readonly string[]) => (await runCommand(scratch, [...args, '--help'])).stdout;

test('every flag of start is listed with a text of its own', async () => {
  const text = await help('start');
  const texts = [...text.matchAll(/^ {2}--([a-z-]+)(?: <\S+>)? {2,}(.+(?:\n {10,}.+)*)/gm)].map(
    ([, flag, words]) => [flag, (words ?? '').replaceAll(/\s+/g, ' ')] as const,
  );
  const flags = [...Object.keys(FLAGS), ...[...SUPERVISION_FLAGS, ...LIMIT_FLAGS].map(({ flag }) => flag)];
  expect(texts.map(([flag]) => flag).sort()).toEqual(flags.sort());
  for (const [flag, words] of texts)
    expect([flag, words]).toEqual([flag, expect.stringMatching(/[a-z]{3,} /)]);
  expect(text).not.toMatch(/supervision \(\d+\)/);
});

test('numbers name their unit', async () => {
  const text = await help('start');
  expect(text).toMatch(/--start-timeout-ms <MS> /);
  expect(text).toMatch(/--event-ring-bytes <BYTES> /);
  expect(text).toMatch(/--max-daemons <N> /);
});

test('the flags stand under headings, and the rule for the variables at the end', async () => {
  const text = await help('start');
  const headings = [...text.matchAll(/^([A-Z].*):$/gm)].map(([, heading]) => heading);
  expect(headings).toEqual([
    'Listener',
    'Access',
    'Workspaces and agents',
    'State and logs',
    'Daemons: start, stop and supervision',
    'Limits of each daemon',
    'Options',
  ]);
  expect(text.trimEnd().slice(-600)).toContain('QWEN_COORDINATOR_MAX_DAEMONS for --max-daemons');
});

test.each(['status', 'stop', 'sweep'])('%s names the variable of its state directory', async (name) => {
  expect((await help(name)).replaceAll(/\s+/g, ' ')).toContain('QWEN_COORDINATOR_STATE_DIR');
});
