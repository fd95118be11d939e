// Keeps docs/openapi.yaml and docs/api.md true: against OpenAPI's own rules, both route tables, the error table, the core
// contract, and what real servers answer at GET /openapi.json.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from '@jest/globals';
import { routeOf } from '../../coordinator/domain/routing.ts';
import { addBackup } from '../../coordinator/http/admin/backup.ts';
import { addOperations } from '../../coordinator/http/admin/operations.ts';
import { createAdminRouter } from '../../coordinator/http/admin/router.ts';
import { addWhy } from '../../coordinator/http/admin/why.ts';
import { createRoutes } from '../../coordinator/http/routes.ts';
import { ERRORS } from '../../daemon/contract/errors.ts';
import { PERMISSION_POLICIES } from '../../daemon/contract/wire.ts';
import { CLIENT_ROUTES } from '../../daemon/http/routes.ts';
import { endFleets } from '../support/fleet-process.ts';
import {
  at,
  DESCRIPTION,
  jsonSchemaOf,
  OPERATIONS,
  type Operation,
  resolved,
  type Schema,
  successOf,
} from '../support/openapi.ts';
import { TARGETS } from '../support/targets.ts';
import { call } from '../support/wire-client.ts';

const read = (path: string) => readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8');

afterAll(endFleets);

/** Every object below `node`, itself included. */
function* objectsIn(node: unknown): Generator<Record<string, unknown>> {
  if (typeof node !== 'object' || node === null) return;
  if (!Array.isArray(node)) yield node as Record<string, unknown>;
  for (const inner of Object.values(node)) yield* objectsIn(inner);
}

const responsesOf = (operation: Operation) =>
  Object.entries(operation.responses).map(([status, response]) => ({ status, response: resolved(response) }));

describe('the document', () => {
  test('is OpenAPI 3.1', () => {
    expect(DESCRIPTION.openapi).toBe('3.1.0');
    expect(DESCRIPTION).toMatchObject({ info: { title: expect.any(String), version: expect.any(String) } });
    expect(OPERATIONS.length).toBeGreaterThan(20);
  });

  test('lists the permission policies of the code, wherever it lists them', () => {
    const lists = [...objectsIn(DESCRIPTION)]
      .map((node) => node.enum)
      .filter((values): values is string[] => Array.isArray(values))
      .filter((values) => values.some((value) => PERMISSION_POLICIES.some((policy) => policy === value)));
    expect(lists).not.toEqual([]);
    for (const values of lists) expect(values).toEqual([...PERMISSION_POLICIES]);
  });

  test('refers only to what is there, and leaves no component unused', () => {
    const references = [...objectsIn(DESCRIPTION)].flatMap(({ $ref }) =>
      typeof $ref === 'string' ? [$ref] : [],
    );
    expect(references.length).toBeGreaterThan(100);
    for (const reference of references) expect(at(reference)).toBeDefined();
    const { securitySchemes: _schemes, ...referable } = DESCRIPTION.components;
    const components = Object.entries(referable).flatMap(([section, named]) =>
      Object.keys(named).map((name) => `#/components/${section}/${name}`),
    );
    expect(components.filter((component) => !references.includes(component))).toEqual([]);
  });

  test('has unique operation ids and a known tag on each operation', () => {
    const ids = OPERATIONS.map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    const tags = DESCRIPTION.tags.map(({ name }) => name);
    expect(OPERATIONS.filter((operation) => operation.tags.some((tag) => !tags.includes(tag)))).toEqual([]);
    expect(OPERATIONS.filter((operation) => operation.tags.length !== 1)).toEqual([]);
  });

  test.each(OPERATIONS.map((operation) => [operation.name, operation] as const))(
    '%s declares its parameters and describes each answer',
    (_name, operation) => {
      const inPath = [...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '');
      const declared = (operation.parameters ?? [])
        .map(resolved)
        .filter((parameter) => parameter.in === 'path');
      expect(declared.map(({ name }) => name).sort()).toEqual(inPath.sort());
      expect(declared.filter(({ required }) => required !== true)).toEqual([]);
      expect(operation.summary).not.toBe('');
      expect(successOf(operation)).toHaveLength(1);
      for (const { status, response } of responsesOf(operation)) {
        expect([status, response.description]).toEqual([
          expect.stringMatching(/^[2-5]\d\d$/),
          expect.any(String),
        ]);
        expect(response.description).not.toBe('');
        for (const header of Object.values(response.headers ?? {}))
          expect(resolved(header)).toMatchObject({ schema: expect.any(Object) });
        for (const media of Object.values(response.content ?? {}))
          expect(media).toMatchObject({ schema: expect.any(Object) });
      }
    },
  );

  test('requires only fields that it describes', () => {
    const isSchema = (node: Record<string, unknown>): node is Schema =>
      Array.isArray(node.required) && typeof node.properties === 'object';
    const schemas = [...objectsIn(DESCRIPTION)].filter(isSchema);
    expect(schemas.length).toBeGreaterThan(20);
    for (const { required, properties } of schemas)
      expect(Object.keys(properties ?? {})).toEqual(expect.arrayContaining([...(required ?? [])]));
  });
});

describe('the error codes', () => {
  const documented = OPERATIONS.flatMap((operation) =>
    responsesOf(operation).flatMap(({ status, response }) =>
      codesOf(jsonSchemaOf(response)).map((code) => ({ operation, status: Number(status), response, code })),
    ),
  );

  test('are those of the error table, under their status', () => {
    expect(documented.length).toBeGreaterThan(100);
    const statuses = new Map(Object.entries(ERRORS).map(([code, { status }]) => [code, status as number]));
    for (const { operation, status, code } of documented)
      expect([operation.name, code, status]).toEqual([operation.name, code, statuses.get(code)]);
  });

  test('come with Retry-After where the table has a hint', () => {
    const hinted = new Set<string>(
      Object.entries(ERRORS)
        .filter(([, spec]) => 'retryAfterS' in spec)
        .map(([code]) => code),
    );
    for (const { operation, code, response } of documented.filter((one) => hinted.has(one.code)))
      expect([operation.name, code, Object.keys(response.headers ?? {})]).toEqual([
        operation.name,
        code,
        expect.arrayContaining(['Retry-After']),
      ]);
  });

  /** The codes that a schema narrows its `code` to. */
  function codesOf(schema: Schema | undefined): string[] {
    const code = schema?.properties?.code;
    const choices = [code, ...((code?.anyOf as Schema[] | undefined) ?? [])];
    return choices.flatMap((choice) => (choice?.enum as string[] | undefined) ?? []);
  }
});

describe('the routes', () => {
  /** Answers any property and any call with itself: enough to build a table whose handlers never run. */
  const anything: unknown = new Proxy(() => undefined, { get: () => anything, apply: () => anything });
  const nameOf = (method: string, path: string) =>
    `${method.toLowerCase()} ${path.replaceAll(/[:{]\w+\}?/g, '{}')}`;
  const ofDaemon = CLIENT_ROUTES.map(({ method, path }) => nameOf(method, path));
  /** As the composition root makes it for the admin socket, which has a route more than the listener. */
  const adminRouter = createAdminRouter(anything as never);
  for (const add of [addWhy, addOperations, addBackup]) add(adminRouter, anything as never);
  const ofCoordinator = [createRoutes(anything as never), adminRouter].flatMap((router) =>
    router.stack.flatMap(({ methods, path }) =>
      methods.filter((method) => method !== 'HEAD').map((method) => nameOf(method, String(path))),
    ),
  );
  const documented = OPERATIONS.map(({ method, path }) => nameOf(method, path));
  const urlOf = ({ path }: Operation) => path.replaceAll(/\{\w+\}/g, 'x1');

  test('of the daemon and of the coordinator are described, and no others', () => {
    const routes = new Set([...ofDaemon, ...ofCoordinator]);
    expect([...routes].sort()).toEqual([...documented].sort());
  });

  test('that only a coordinator has are tagged so, and only those', () => {
    const tagged = OPERATIONS.filter(({ tags }) => tags.includes('coordinator'));
    const own = ofCoordinator.filter((route) => !ofDaemon.includes(route));
    expect(tagged.map(({ method, path }) => nameOf(method, path)).sort()).toEqual(own.sort());
  });

  test.each(OPERATIONS.map((operation) => [operation.name, operation] as const))(
    '%s is known to the coordinator, below /w/ too unless it is the coordinator’s alone',
    (_name, operation) => {
      const method = operation.method.toUpperCase();
      expect(routeOf(method, urlOf(operation), undefined)).toMatchObject({ path: urlOf(operation) });
      const below = routeOf(method, `/w/0123456789abcdef${urlOf(operation)}`, undefined);
      if (operation.tags.includes('coordinator')) expect(below).toBe('unknown');
      else expect(below).toMatchObject({ path: urlOf(operation), within: '0123456789abcdef' });
    },
  );
});

interface CoreOperation {
  readonly status: number;
  /** Media types of the success. */
  readonly types?: readonly string[];
  /** Field path -> JSON types, of each field that is there whenever what holds it is. */
  readonly required: Readonly<Record<string, readonly string[]>>;
}

describe('the core contract', () => {
  const core = JSON.parse(read('../support/core-contract.json')) as Record<string, CoreOperation>;
  const shared = OPERATIONS.filter(({ name }) => core[name] !== undefined);

  test('has 26 operations, and most of them are here', () => {
    expect(Object.keys(core)).toHaveLength(26);
    expect(shared.length).toBeGreaterThanOrEqual(19);
  });

  test.each(shared.map((operation) => [operation.name, operation] as const))(
    '%s promises at least as much',
    (name, operation) => {
      const { status, types, required } = core[name] as CoreOperation;
      expect(successOf(operation)).toEqual([status]);
      const response = resolved(operation.responses[status] as Operation['responses'][string]);
      expect(Object.keys(response.content ?? {})).toEqual(types ?? []);
      const schema = jsonSchemaOf(response);
      const kept = Object.entries(required).filter(([path]) => holderOf(schema, path) !== undefined);
      for (const [path, jsonTypes] of kept) {
        const field = path.slice(path.lastIndexOf('.') + 1);
        const holder = holderOf(schema, path);
        expect([path, holder?.required]).toEqual([path, expect.arrayContaining([field])]);
        const ours = [expanded(holder?.properties?.[field])?.type ?? []].flat();
        if (!jsonTypes.includes('any')) expect([path, ours]).toEqual([path, jsonTypes]);
      }
    },
  );

  /** The object schema that holds the last field of `path`; undefined where an optional field on the way is not offered. */
  function holderOf(schema: Schema | undefined, path: string): Schema | undefined {
    const steps = path.split('.').slice(0, -1);
    return steps.reduce<Schema | undefined>((holder, step) => {
      const depth = step.split('[]').length - 1;
      let inner = expanded(expanded(holder)?.properties?.[step.replaceAll('[]', '')]);
      for (let i = 0; i < depth; i++) inner = expanded(inner?.items);
      return inner;
    }, expanded(schema));
  }

  function expanded(schema: Schema | undefined): Schema | undefined {
    return schema?.$ref === undefined ? schema : expanded(at(schema.$ref) as Schema);
  }
});

test('docs/api.md has the table of operations', () => {
  const page = read('../../docs/api.md');
  const [, table] = /<!-- operations -->\n\n([\s\S]*?)\n\n<!-- end of operations -->/.exec(page) ?? [];
  const sections = DESCRIPTION.tags.map(({ name, description }) => {
    const rows = OPERATIONS.filter(({ tags }) => tags.includes(name)).map(
      (operation) =>
        `| ${operation.method.toUpperCase()} | \`${operation.path}\` | ${successOf(operation).join(', ')} | ${operation.summary} |`,
    );
    const head = ['| method | path | success | what it does |', '|---|---|---|---|'];
    return [`### ${name}`, '', description, '', ...head, ...rows].join('\n');
  });
  expect(table).toBe(sections.join('\n\n'));
});

describe.each(TARGETS)('GET /openapi.json of %s', (_name, target) => {
  test('is the document, without starting anything', async () => {
    const server = await target.start();
    const answer = await call(server.baseUrl, 'GET', '/openapi.json');
    expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/json; charset=utf-8']);
    expect(answer.json).toEqual(DESCRIPTION);
    if (target.isFleet) expect((await server.diagnostics()).map(({ starts }) => starts)).toEqual([0, 0]);
  });
});
