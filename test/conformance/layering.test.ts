// The house's layers, read from every import: arrows go down only, and what is dangerous has one room.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** One room of the house: the first pattern that matches a file decides. A room may import itself and those it names. */
interface Room {
  readonly name: string;
  readonly files: RegExp;
  readonly below: readonly string[];
}

const COORDINATOR_BASE = ['domain', 'contract'];
const COORDINATOR_SERVICES = ['supervise', 'launch', 'store', ...COORDINATOR_BASE];
const DAEMON_BASE = ['domain', 'contract'];
const DAEMON_SERVICES = ['history', 'bus', 'agent', ...DAEMON_BASE];

/** Coordinator and daemon, each from the roof to the ground. */
const ROOMS: Readonly<Record<'coordinator' | 'daemon', readonly Room[]>> = {
  coordinator: [
    { name: 'main', files: /^main\.ts$/, below: ['cli', 'app', 'config', ...COORDINATOR_SERVICES] },
    { name: 'cli', files: /^cli\//, below: ['app', 'config', ...COORDINATOR_SERVICES] },
    { name: 'app', files: /^app(?:-\w+)?\.ts$/, below: ['config', 'http', ...COORDINATOR_SERVICES] },
    { name: 'config', files: /^(?:config|flags|flag-source)\.ts$/, below: COORDINATOR_SERVICES },
    { name: 'http', files: /^http\//, below: ['supervise', 'store', ...COORDINATOR_BASE] },
    { name: 'supervise', files: /^supervise\//, below: ['launch', 'store', ...COORDINATOR_BASE] },
    { name: 'launch', files: /^launch\//, below: COORDINATOR_BASE },
    { name: 'store', files: /^store\//, below: COORDINATOR_BASE },
    { name: 'domain', files: /^domain\//, below: ['contract'] },
  ],
  daemon: [
    { name: 'main', files: /^main\.ts$/, below: ['app', 'config', 'http', 'sessions', ...DAEMON_BASE] },
    { name: 'app', files: /^app\.ts$/, below: ['config', 'http', 'sessions', ...DAEMON_SERVICES] },
    { name: 'http', files: /^http\//, below: ['config', 'sessions', 'history', 'bus', ...DAEMON_BASE] },
    { name: 'config', files: /^(?:config|usage)\.ts$/, below: DAEMON_BASE },
    { name: 'demo-agent', files: /^demo-agent\//, below: [] },
    { name: 'agent', files: /^agent\//, below: ['contract'] },
    { name: 'history', files: /^history\//, below: ['bus', 'agent', ...DAEMON_BASE] },
    { name: 'bus', files: /^bus\.ts$/, below: DAEMON_BASE },
    { name: 'domain', files: /^domain\//, below: ['contract'] },
    { name: 'contract', files: /^contract\//, below: [] },
    // The services around the sessions, each a file on the ground floor of daemon/.
    { name: 'sessions', files: /^[^/]+\.ts$/, below: DAEMON_SERVICES },
  ],
};

/** Packages and modules that only some files may import. */
const CONFINED: readonly (readonly [module: RegExp, files: RegExp, rule: string])[] = [
  [/^better-sqlite3$/, /^coordinator\/store\/driver\.ts$/, 'only driver.ts knows which SQLite driver runs'],
  [
    /^(?:node:)?child_process$/,
    /^(?:coordinator\/launch\/|daemon\/agent\/|daemon\/git\.ts)/,
    'processes are made in launch, agent and git.ts only',
  ],
  [/^http-proxy(?:-3)?$/, /^coordinator\/http\/forward\.ts$/, 'only forward.ts knows the proxy library'],
  [
    /^(?:koa|@koa\/router)$/,
    /^(?:coordinator|daemon)\/(?:http\/|app(?:-\w+)?\.ts$)/,
    'HTTP frameworks stay in http',
  ],
  [/^@agentclientprotocol\/sdk$/, /^daemon\/(?:agent|demo-agent)\//, 'ACP is spoken by the agent link only'],
  [/^commander$/, /^coordinator\/cli\//, 'the command line is parsed in cli only'],
];

interface SourceFile {
  /** Path from the root of the repository. */
  readonly path: string;
  readonly text: string;
}

interface Import {
  readonly specifier: string;
  readonly isTypeOnly: boolean;
}

function sources(): SourceFile[] {
  return ['coordinator', 'daemon'].flatMap((top) =>
    readdirSync(join(ROOT, top), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => ({ path: join(top, name), text: readFileSync(join(ROOT, top, name), 'utf8') })),
  );
}

/** `import … from`, `export … from`, bare `import` and `import()`. Comments are cut first: they may quote code. */
function importsOf({ text }: SourceFile): Import[] {
  const code = text.replace(/^\s*(?:\/\/|\*|\/\*).*$/gm, '');
  const fromClause = /^(?:import|export)\s(?<clause>[^;'"]*?)\bfrom\s+'(?<from>[^']+)'/gm;
  const bare = /(?:^import\s+|\bimport\(\s*)'(?<from>[^']+)'/gm;
  const found = [...code.matchAll(fromClause), ...code.matchAll(bare)];
  return found.map(({ groups }) => ({
    specifier: groups?.from ?? '',
    isTypeOnly: /^type\s/.test(groups?.clause ?? ''),
  }));
}

const isRelative = ({ specifier }: Import) => specifier.startsWith('.');

/** Path of an imported file from the root. */
const targetOf = (file: SourceFile, { specifier }: Import) =>
  relative(ROOT, resolve(ROOT, dirname(file.path), specifier));

const topOf = (path: string) => path.slice(0, path.indexOf('/')) as 'coordinator' | 'daemon';

function roomOf(path: string): Room | undefined {
  const top = topOf(path);
  const inside = path.slice(top.length + 1);
  if (top === 'daemon' && inside.startsWith('contract/'))
    return ROOMS.daemon.find(({ name }) => name === 'contract');
  return ROOMS[top]?.find(({ files }) => files.test(inside));
}

const FILES = sources();

/** Every violation as "file: rule", so that a failure reads as a list of what to change. */
function violations(judge: (file: SourceFile) => readonly string[]): string[] {
  return FILES.flatMap((file) => judge(file).map((rule) => `${file.path}: ${rule}`));
}

describe('the layers', () => {
  test('there are files to judge, and their imports are read', () => {
    expect(FILES.length).toBeGreaterThan(100);
    const app = FILES.find(({ path }) => path === 'coordinator/app.ts') as SourceFile;
    expect(importsOf(app).map(({ specifier }) => specifier)).toEqual(
      expect.arrayContaining(['node:fs', './app-http.ts', './config.ts', './http/server.ts']),
    );
    // A dynamic import counts like any other.
    const dynamic: SourceFile = { path: 'x.ts', text: "const lazy = await import('koa');" };
    expect(importsOf(dynamic)).toEqual([{ specifier: 'koa', isTypeOnly: false }]);
  });

  test('every file has a room', () => {
    expect(
      violations(({ path }) =>
        roomOf(path) === undefined
          ? ['belongs to no layer: give its room a place in the table of this test']
          : [],
      ),
    ).toEqual([]);
  });

  test('arrows go down only', () => {
    const judged = violations((file) => {
      const room = roomOf(file.path);
      return importsOf(file)
        .filter(isRelative)
        .map((found) => targetOf(file, found))
        .filter((target) => topOf(target) === topOf(file.path))
        .filter((target) => {
          const name = roomOf(target)?.name ?? 'nowhere';
          return room !== undefined && name !== room.name && !room.below.includes(name);
        })
        .map((target) => `${room?.name} may not import ${roomOf(target)?.name} (${target})`);
    });
    expect(judged).toEqual([]);
  });

  test('the coordinator imports nothing of the daemon but its contract', () => {
    const judged = violations((file) =>
      topOf(file.path) !== 'coordinator'
        ? []
        : importsOf(file)
            .filter(isRelative)
            .map((found) => targetOf(file, found))
            .filter((target) => topOf(target) !== 'coordinator' && !target.startsWith('daemon/contract/'))
            .map((target) => `imports ${target}; of daemon/ only daemon/contract is shared`),
    );
    expect(judged).toEqual([]);
  });

  test('the daemon imports nothing of the coordinator', () => {
    const judged = violations((file) =>
      topOf(file.path) !== 'daemon'
        ? []
        : importsOf(file)
            .filter(isRelative)
            .map((found) => targetOf(file, found))
            .filter((target) => topOf(target) !== 'daemon')
            .map((target) => `imports ${target}; the daemon stands alone`),
    );
    expect(judged).toEqual([]);
  });

  test('domain/ is pure: no runtime import but domain, contract and hashing, no clock, no chance', () => {
    const isPure = ({ specifier, isTypeOnly }: Import) =>
      isTypeOnly || specifier.startsWith('.') || specifier === 'node:crypto' || specifier === 'node:path';
    const impure =
      /\b(?:Date\.now|new Date\(\)|performance\.now|Math\.random|setTimeout|setInterval|await |async )\b/;
    const judged = violations((file) => {
      if (!/^(?:coordinator|daemon)\/domain\//.test(file.path)) return [];
      const foreign = importsOf(file).filter((found) => !isPure(found));
      const code = file.text.replace(/^\s*(?:\/\/|\*|\/\*).*$/gm, '');
      const word = impure.exec(code)?.[0];
      return [
        ...foreign.map(({ specifier }) => `domain is pure and may not import ${specifier}`),
        ...(word === undefined ? [] : [`domain is pure and may not use ${word.trim()}`]),
      ];
    });
    expect(judged).toEqual([]);
  });

  test.each(CONFINED)('%s is imported in %s only', (module, files, rule) => {
    const judged = violations((file) =>
      importsOf(file)
        .filter(({ specifier }) => module.test(specifier) && !files.test(file.path))
        .map(({ specifier }) => `imports ${specifier}: ${rule}`),
    );
    expect(judged).toEqual([]);
    // A rule about a module that nobody imports would hold nothing.
    expect(FILES.some((file) => importsOf(file).some(({ specifier }) => module.test(specifier)))).toBe(true);
  });

  test('SQL text is written in coordinator/store only', () => {
    const sql =
      /['"`]\s*(?:SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s\w+\sSET|DELETE\s+FROM|CREATE\s+TABLE|PRAGMA)\s/;
    const judged = violations((file) =>
      sql.test(file.text) && !file.path.startsWith('coordinator/store/') ? ['holds SQL text'] : [],
    );
    expect(judged).toEqual([]);
    expect(FILES.some(({ text }) => sql.test(text))).toBe(true);
  });

  test('environment and arguments are read in config.ts and main.ts only', () => {
    const judged = violations(({ path, text }) => {
      const found = /\bprocess\.(?:env|argv)\b/.exec(text.replace(/^\s*(?:\/\/|\*|\/\*).*$/gm, ''));
      return found === null || /(?:^|\/)(?:config|main)\.ts$/.test(path) ? [] : [`reads ${found[0]}`];
    });
    expect(judged).toEqual([]);
  });

  test('there are no barrels', () => {
    const isBarrel = ({ path, text }: SourceFile) =>
      /(?:^|\/)index\.ts$/.test(path) || /^export\s+(?:type\s+)?\*/m.test(text);
    expect(
      violations((file) => (isBarrel(file) ? ['is a barrel: import from the file that owns it'] : [])),
    ).toEqual([]);
  });

  test('names are kebab-case, and none says nothing', () => {
    const kebab = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;
    const judged = violations(({ path }) => {
      const parts = path.replace(/\.ts$/, '').split('/');
      return [
        ...parts.filter((part) => !kebab.test(part)).map((part) => `"${part}" is not kebab-case`),
        ...parts
          .filter((part) => /^(?:utils?|helpers?|managers?|misc|common)$/.test(part))
          .map((part) => `"${part}" says nothing: name it by what it owns`),
      ];
    });
    expect(judged).toEqual([]);
  });

  test('every file says first what it owns', () => {
    const judged = violations(({ text }) => {
      const lines = text.replace(/^#!.*\n/, '').split('\n');
      return lines[0]?.startsWith('// ') ? [] : ['does not open with a comment about what it owns'];
    });
    expect(judged).toEqual([]);
  });

  test('imports name the .ts file', () => {
    const judged = violations((file) =>
      importsOf(file)
        .filter((found) => isRelative(found) && !found.specifier.endsWith('.ts'))
        .map(({ specifier }) => `imports "${specifier}" without its .ts extension`),
    );
    expect(judged).toEqual([]);
  });
});
