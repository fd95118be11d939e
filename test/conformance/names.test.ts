// One word, one meaning: no two files export the same name, in either tree, but for the few listed here with their reason.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Exported names that stand in several files, each with why both files are right to have it. */
const STANDS_TWICE: Readonly<Record<string, string>> = {};

/** Names that one file exports by declaration; a type and a value of one name in one file are one name. */
function exportsOf(text: string): ReadonlySet<string> {
  const declared =
    /^export (?:declare )?(?:abstract )?(?:async )?(?:class|const|enum|function\*?|interface|let|type) (?<name>[\w$]+)/gm;
  const listed = /^export (?:type )?\{(?<names>[^}]*)\}/gm;
  const names = [...text.matchAll(declared)].map(({ groups }) => groups?.name ?? '');
  const others = [...text.matchAll(listed)].flatMap(({ groups }) =>
    (groups?.names ?? '').split(',').map((item) => item.trim().split(/\s+/).at(-1) ?? ''),
  );
  return new Set([...names, ...others].filter((name) => name !== ''));
}

/** Every exported name with the files that export it. */
function owners(): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const top of ['coordinator', 'daemon'])
    for (const file of readdirSync(join(ROOT, top), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts')) continue;
      for (const name of exportsOf(readFileSync(join(ROOT, top, file), 'utf8')))
        found.set(name, [...(found.get(name) ?? []), `${top}/${file}`]);
    }
  return found;
}

const OWNERS = owners();
const TWICE = [...OWNERS].filter(([, files]) => files.length > 1);

test('the exports of a file are read', () => {
  const text =
    "export const A = 1;\nexport type A = 1;\nexport async function b() {}\nexport { c, d as e } from './x.ts';";
  expect([...exportsOf(text)]).toEqual(['A', 'b', 'c', 'e']);
  expect(OWNERS.size).toBeGreaterThan(800);
});

test('no exported name stands in two files without a reason', () => {
  const unexplained = TWICE.filter(([name]) => !Object.hasOwn(STANDS_TWICE, name));
  expect(unexplained.map(([name, files]) => `${name}: ${files.join(', ')}`)).toEqual([]);
});

test('the list of reasons has no name that stands in one file only', () => {
  const twice = new Set(TWICE.map(([name]) => name));
  expect(Object.keys(STANDS_TWICE).filter((name) => !twice.has(name))).toEqual([]);
});
