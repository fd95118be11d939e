// Keeps the documentation true: paths, flags, variables, exit codes and dependencies are compared with the code.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { EXIT } from '../../coordinator/cli/exit-codes.ts';
import { FLAGS, flagVariable, LIMIT_FLAGS, SUPERVISION_FLAGS } from '../../coordinator/flags.ts';
import { driverPackageFor } from '../../coordinator/store/driver-package.ts';
import { LIMIT_NAMES, LIMITS } from '../../daemon/contract/limits.ts';
import { DEFAULT_PERMISSION_POLICY, PERMISSION_POLICIES } from '../../daemon/contract/wire.ts';
import { usage } from '../../daemon/usage.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGES = [
  'README.md',
  'CHANGELOG.md',
  ...['docs', 'docs/adr'].flatMap((dir) =>
    readdirSync(join(ROOT, dir))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(dir, name)),
  ),
];

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** Contents of the fenced blocks with this label. */
function blocks(text: string, label: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${label}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, body]) => body ?? '',
  );
}

/** The cells of every table row of `text`, headings and rules left out. */
function tableRows(text: string): string[][] {
  const lines = text.split('\n');
  return lines
    .filter((line, at) => line.startsWith('|') && !isRule(line) && !isRule(lines[at + 1] ?? ''))
    .map((line) =>
      line
        .slice(1, line.lastIndexOf('|'))
        .split('|')
        .map((cell) => cell.trim()),
    );
}

const isRule = (line: string) => /^\|(?:-+\|)+$/.test(line);

/** The text under a heading, up to the next one of any level. */
function section(text: string, heading: string): string {
  const from = text.indexOf(`## ${heading}\n`);
  if (from === -1) throw new Error(`there is no section "${heading}"`);
  const rest = text.slice(from + heading.length + 4);
  return rest.slice(0, rest.search(/^#/m) === -1 ? undefined : rest.search(/^#/m));
}

const coordinatorFlags = new Set([
  ...Object.keys(FLAGS),
  ...SUPERVISION_FLAGS.map(({ flag }) => flag),
  ...LIMIT_FLAGS.map(({ flag }) => flag),
]);

describe('architecture.md', () => {
  const page = read('docs/architecture.md');
  const tree = blocks(page, 'tree').flatMap((block) =>
    block
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/\s+/)[0] ?? ''),
  );

  test('every path of the tree exists', () => {
    expect(tree.length).toBeGreaterThan(10);
    expect(tree.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  test.each(['coordinator', 'daemon'])('every room of %s is in the tree', (side) => {
    const rooms = readdirSync(join(ROOT, side), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `${relative(ROOT, join(entry.parentPath, entry.name))}/`);
    expect(rooms.filter((room) => !tree.includes(room))).toEqual([]);
  });

  test('the ways of requests name each file once, and only files that exist', () => {
    const ways = blocks(page, 'way');
    expect(ways).toHaveLength(2);
    for (const way of ways) {
      const files = way
        .trimEnd()
        .split('\n')
        .flatMap((line) => {
          const [side = '', ...steps] = line.split(/\s+(?:->\s+)?/);
          return steps.map((step) => join(side, step));
        });
      expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
      expect(new Set(files).size).toBe(files.length);
    }
  });
});

describe('contributing.md', () => {
  const page = read('docs/contributing.md');
  const recipes = page.split(/^## /m).slice(1);

  test('has a list of files for each of its five changes', () => {
    expect(recipes).toHaveLength(5);
    for (const recipe of recipes) expect(blocks(recipe, 'files')).toHaveLength(1);
  });

  test.each(recipes.map((recipe) => [recipe.slice(0, recipe.indexOf('\n')), recipe]))(
    '%s: every file to touch exists, and says what for',
    (_, recipe) => {
      const lines = blocks(recipe, 'files').join('').trimEnd().split('\n');
      const files = lines.map((line) => line.split(/\s+/));
      expect(files.filter(([path = '', ...why]) => why.length < 2 || !existsSync(join(ROOT, path)))).toEqual(
        [],
      );
      expect(files.length).toBeGreaterThan(4);
    },
  );
});

describe('every page', () => {
  test.each(PAGES)('%s links to what exists', (page) => {
    const targets = [...read(page).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(
      ([, target]) => target ?? '',
    );
    const local = targets.filter((target) => !/^[a-z]+:/.test(target));
    expect(local.filter((target) => !existsSync(join(ROOT, dirname(page), target)))).toEqual([]);
  });

  test.each(PAGES)('%s names source files that exist', (page) => {
    const named = [...read(page).matchAll(/`((?:coordinator|daemon|deploy|test|docs)\/[\w./-]+)`/g)].map(
      ([, path]) => path ?? '',
    );
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  test.each(PAGES)('%s names variables that flags have', (page) => {
    const variables = new Set([...coordinatorFlags].map(flagVariable));
    const named = read(page).match(/QWEN_COORDINATOR_[A-Z_]*[A-Z]/g) ?? [];
    expect(named.filter((name) => !variables.has(name))).toEqual([]);
  });
});

describe('README.md', () => {
  const rows = tableRows(section(read('README.md'), 'Commands')).filter(([cell]) => cell?.startsWith('`--'));

  test('its table has only flags of start, each with its own variable and default', () => {
    expect(rows.length).toBeGreaterThan(10);
    for (const [cell = '', variable, meaning = ''] of rows) {
      const flag = /^`--([a-z-]+)/.exec(cell)?.[1] ?? '';
      expect([...coordinatorFlags]).toContain(flag);
      expect(variable).toBe(`\`${flagVariable(flag)}\``);
      const fallback = fallbackOf(flag);
      if (fallback !== undefined) expect(meaning).toContain(`(${fallback})`);
    }
  });

  test('flags of start in its prose exist', () => {
    const others = new Set([
      ...['acp', 'verbose', 'json', 'timeout', 'help', 'save-exact'],
      ...['leave-daemons', 'rolling', 'reap'],
    ]);
    const named = [...read('README.md').matchAll(/--([a-z][a-z-]+)/g)].map(([, flag]) => flag ?? '');
    expect(named.filter((flag) => !coordinatorFlags.has(flag) && !others.has(flag))).toEqual([]);
  });
});

function fallbackOf(flag: string): number | undefined {
  const numbers = [...LIMIT_FLAGS, ...SUPERVISION_FLAGS];
  return numbers.find((candidate) => candidate.flag === flag)?.fallback;
}

describe('operations.md', () => {
  test('the flags that it names exist', () => {
    const others = new Set([
      ...['json', 'timeout', 'reap', 'incarnation', 'init', 'format', 'build-arg', 'global', 'prefix'],
      ...['system', 'create-home', 'shell', 'now', 'signal', 'kill-whom', 'limit'],
      ...['leave-daemons', 'rolling', 'at-once', 'drain-ms', 'reason'],
    ]);
    const named = [...read('docs/operations.md').matchAll(/--([a-z][a-z-]+)/g)].map(([, flag]) => flag ?? '');
    expect(named.filter((flag) => !coordinatorFlags.has(flag) && !others.has(flag))).toEqual([]);
  });
});

describe('exit codes in operations.md', () => {
  test('are those of the code', () => {
    const codes = tableRows(section(read('docs/operations.md'), 'Exit codes')).map(([code]) => Number(code));
    expect(codes).toEqual(Object.values(EXIT));
  });
});

describe('dependencies.md', () => {
  const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
  const names = (heading: string) =>
    tableRows(section(read('docs/dependencies.md'), heading)).map(([controller = '']) =>
      controller.replaceAll('`', ''),
    );
  const listed = (kind: string) => Object.keys(manifest[kind] ?? {}).sort();

  test('at run time: one line for the optional dependency and one for the optional peer, and there is no other', () => {
    expect(names('At run time')).toEqual(listed('optionalDependencies'));
    expect(names('At run time on Node 20')).toEqual(listed('peerDependencies'));
    expect(manifest.peerDependenciesMeta).toEqual({ 'better-sqlite3-12': { optional: true } });
    expect(listed('dependencies')).toEqual([]);
  });

  test('one line for each development dependency, and no other', () => {
    const ours = [...names('In the bundle'), ...names('For development'), ...names('At run time on Node 20')];
    expect(ours.sort()).toEqual(listed('devDependencies'));
  });

  test('every version is exact, and a driver is the one that messages name', () => {
    const kinds = ['optionalDependencies', 'peerDependencies', 'devDependencies'];
    const specs = kinds.flatMap((kind) => Object.values(manifest[kind] ?? {}));
    expect(specs.filter((spec) => !/^(?:npm:[\w.-]+@)?\d+\.\d+\.\d+$/.test(spec))).toEqual([]);
    const older = driverPackageFor('20.19.0');
    const newer = driverPackageFor('22.14.0');
    const spec = `npm:better-sqlite3@${older.version}`;
    expect(manifest.optionalDependencies).toEqual({ [newer.name]: newer.version });
    expect(manifest.peerDependencies).toEqual({ [older.name]: spec });
    expect(manifest.devDependencies?.[older.name]).toBe(spec);
    for (const path of ['README.md', 'Dockerfile']) expect(read(path)).toContain(`${older.name}@${spec}`);
  });

  test('package-lock.json names no registry', () => {
    expect(read('.npmrc')).toMatch(/^omit-lockfile-registry-resolved=true$/m);
    expect(read('package-lock.json').match(/https?:\/\/\S+\.tgz/g)).toBeNull();
    expect(read('package-lock.json')).not.toContain('"resolved"');
  });

  test('no script of a package runs when a checkout is installed, and none of ours relies on a pre or post script', () => {
    expect(read('.npmrc')).toMatch(/^ignore-scripts=true$/m);
    const hooks = Object.keys(manifest.scripts ?? {}).filter((name) => /^(?:pre|post)/.test(name));
    expect(hooks).toEqual([]);
  });
});

describe('the permission policies', () => {
  const quoted = (text: string) => [...text.matchAll(/`([a-z-]+)`/g)].map(([, word]) => word);

  test('in README.md are those of the code, with the default', () => {
    const rows = tableRows(section(read('README.md'), 'Commands'));
    const row = rows.find(([cell]) => cell?.startsWith('`--permission-policy'));
    expect(quoted(row?.[2] ?? '')).toEqual([...PERMISSION_POLICIES, DEFAULT_PERMISSION_POLICY]);
  });

  test('in api.md are those of the code', () => {
    const rows = tableRows(section(read('docs/api.md'), 'Permission questions'));
    expect(rows.flatMap(([cell = '']) => quoted(cell))).toEqual([...PERMISSION_POLICIES]);
  });

  test.each([
    ['qwen-daemon', usage()],
    ['qwen-coordinator start', FLAGS['permission-policy'].help],
  ])('in the help of %s are those of the code, with the default', (_command, help) => {
    const listed = PERMISSION_POLICIES.join(', ');
    expect(help).toContain(listed.replace(DEFAULT_PERMISSION_POLICY, '$& (default)'));
  });
});

test('the help of qwen-daemon has every limit', () => {
  const text = usage();
  expect(LIMIT_NAMES.filter((name) => !text.includes(`--${LIMITS[name].flag} `))).toEqual([]);
});
