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

/** A layer's rooms: each may import every room of the layers below it, and none of its own layer but itself. */
type Layer = Readonly<Record<string, RegExp>>;

/** From the roof to the ground. */
const COORDINATOR: readonly Layer[] = [
  { main: /^main\.ts$/ },
  { cli: /^cli\// },
  { app: /^app(?:-\w+)?\.ts$/ },
  { http: /^http\//, config: /^(?:config|flags|flag-source)\.ts$/ },
  { 'supervise/sessions': /^supervise\/sessions\// },
  { 'supervise/supervisor': /^supervise\/supervisor\// },
  { 'supervise/daemon': /^supervise\/daemon\// },
  { 'supervise/feed': /^supervise\/feed\//, 'supervise/workspaces': /^supervise\/workspaces\// },
  { 'supervise/records': /^supervise\/records\// },
  // The words between the rooms: one file each, directly in supervise/.
  { supervise: /^supervise\/[^/]+\.ts$/ },
  { launch: /^launch\//, store: /^store\// },
  { upstream: /^upstream\// },
  { domain: /^domain\// },
];

const DAEMON: readonly Layer[] = [
  { main: /^main\.ts$/ },
  { app: /^app(?:-\w+)?\.ts$/ },
  { http: /^http\//, process: /^process\// },
  { config: /^(?:config|usage)\.ts$/ },
  { feed: /^feed\//, catalog: /^catalog\//, restore: /^restore\// },
  { sessions: /^sessions\// },
  { checkouts: /^checkouts\// },
  { session: /^session\// },
  { history: /^history\// },
  { events: /^events\//, agent: /^agent\// },
  { domain: /^domain\// },
  { contract: /^contract\// },
];

/** Arrows that the layers alone would allow and that must not be: what the rooms are kept apart for. */
const FORBIDDEN: Readonly<Record<'coordinator' | 'daemon', Readonly<Record<string, readonly string[]>>>> = {
  coordinator: { http: ['launch'], config: ['http', 'upstream'] },
  daemon: {
    // What clients ask of the agent is translated in session/agent-calls.ts.
    http: ['agent'],
    process: ['feed', 'catalog', 'restore', 'sessions', 'checkouts', 'session', 'history', 'events'],
  },
};

function roomsOf(
  top: 'coordinator' | 'daemon',
  layers: readonly Layer[],
  base: readonly string[],
): readonly Room[] {
  return layers.flatMap((layer, at) =>
    Object.entries(layer).map(([name, files]) => {
      const below = layers.slice(at + 1).flatMap((lower) => Object.keys(lower));
      const forbidden = FORBIDDEN[top][name] ?? [];
      return { name, files, below: [...below, ...base].filter((room) => !forbidden.includes(room)) };
    }),
  );
}

const ROOMS: Readonly<Record<'coordinator' | 'daemon', readonly Room[]>> = {
  coordinator: roomsOf('coordinator', COORDINATOR, ['contract']),
  daemon: [
    // An agent of its own, which the bridge knows by its command line only.
    { name: 'demo-agent', files: /^demo-agent\//, below: [] },
    ...roomsOf('daemon', DAEMON, []),
  ],
};

/** Packages and modules that only some files may import. */
const CONFINED: readonly (readonly [module: RegExp, files: RegExp, rule: string])[] = [
  [/^better-sqlite3$/, /^coordinator\/store\/driver\.ts$/, 'only driver.ts knows which SQLite driver runs'],
  [
    /^(?:node:)?child_process$/,
    /^(?:coordinator\/launch\/|daemon\/agent\/|daemon\/checkouts\/git\.ts)/,
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

/**
 * Words of one launcher, the one that makes processes. Elsewhere a daemon is known by its handle and its address, which are
 * opaque, and by what a launcher may tell of it for people to read. The files may use the word for what the reason says.
 */
const LAUNCHERS_OWN: readonly (readonly [word: RegExp, files: RegExp, reason: string])[] = [
  [
    /\b(?:startTime|bootId|logPath|DaemonMark)\b|\/proc\//,
    /^store\/migrations\//,
    'a migration reads the columns of earlier schemas',
  ],
  [
    /\bsocketPath\b/,
    /^(?:upstream\/dial|cli\/(?:admin-socket|admin-client|stop)|store\/migrations\/.*)\.ts$/,
    "Node's own word where addresses are opened; the admin socket is the coordinator's, not a daemon's; earlier columns",
  ],
  [
    /(?<!\bprocess)(?<!\bfacts)\??\.pid\b/,
    /^(?:store\/lock|cli\/(?:admin-socket|demo|doctor\/scene)|http\/admin\/(?:views|why)|upstream\/identity)\.ts$/,
    'who holds the state directory; what operators are shown; a field of the identity',
  ],
  [
    /\baddress\.(?:kind|path|host|tls)\b|\}\s*=\s*(?:\w+\.)*address\b/,
    /^upstream\//,
    'an address is opened where the connections are made',
  ],
  [
    /^import \{[^}]*\brequest\b[^}]*\} from 'node:https?'/m,
    /^(?:upstream\/dial|cli\/admin-client)\.ts$/,
    "daemons are called from one place; the admin socket is the coordinator's",
  ],
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
  return ROOMS[top]?.find(({ files }) => files.test(inside));
}

/** The sets of files that import each other, directly or through others (Tarjan's strongly connected components). */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  const found: string[][] = [];
  const visit = (file: string): number => {
    const at = order.size;
    order.set(file, at);
    lowest.set(file, at);
    open.push(file);
    for (const target of graph.get(file) ?? []) {
      const reached = order.has(target)
        ? open.includes(target)
          ? order.get(target)
          : undefined
        : visit(target);
      lowest.set(file, Math.min(lowest.get(file) ?? at, reached ?? at));
    }
    if (lowest.get(file) === at) {
      const circle = open.splice(open.indexOf(file));
      if (circle.length > 1 || graph.get(file)?.includes(file)) found.push(circle.sort());
    }
    return lowest.get(file) ?? at;
  };
  for (const file of graph.keys()) if (!order.has(file)) visit(file);
  return found;
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
      expect.arrayContaining(['node:path', './app-http.ts', './config.ts', './http/server.ts']),
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

  test('there is no circle of imports, those of types counted', () => {
    expect(
      circles(
        new Map([
          ['a', ['b']],
          ['b', ['c', 'd']],
          ['c', ['a']],
          ['d', []],
        ]),
      ),
    ).toEqual([['a', 'b', 'c']]);
    const graph = new Map(
      FILES.map((file) => [
        file.path,
        importsOf(file)
          .filter(isRelative)
          .map((found) => targetOf(file, found)),
      ]),
    );
    expect(circles(graph)).toEqual([]);
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

  test.each(LAUNCHERS_OWN)('%s stands in launch/ only, and in %s: %s', (word, files) => {
    const codeOf = ({ text }: SourceFile) => text.replace(/^\s*(?:\/\/|\*|\/\*).*$/gm, '');
    const judged = violations((file) => {
      const inside = file.path.replace(/^coordinator\//, '');
      const isJudged = topOf(file.path) === 'coordinator' && !/^launch\//.test(inside) && !files.test(inside);
      const found = isJudged ? word.exec(codeOf(file)) : null;
      return found === null ? [] : [`uses "${found[0]}": ask the launcher, or go through upstream/`];
    });
    expect(judged).toEqual([]);
    // A word that nobody uses would guard nothing.
    expect(FILES.some((file) => topOf(file.path) === 'coordinator' && word.test(codeOf(file)))).toBe(true);
  });

  test('supervision knows launch/ by its interface alone', () => {
    const judged = violations((file) =>
      importsOf(file)
        .filter(isRelative)
        .filter((found) => file.path.startsWith('coordinator/supervise/') && !isInterface(file, found))
        .map((found) => `imports ${targetOf(file, found)}: of launch/ only the types of launcher.ts`),
    );
    expect(judged).toEqual([]);
    function isInterface(file: SourceFile, found: Import): boolean {
      const target = targetOf(file, found);
      if (!target.startsWith('coordinator/launch/')) return true;
      return target === 'coordinator/launch/launcher.ts' && found.isTypeOnly;
    }
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
