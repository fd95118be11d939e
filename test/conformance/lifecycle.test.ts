// docs/lifecycle.md is made from the tables that the code runs by, and is never older than they are.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { STATES } from '../../coordinator/domain/daemon-state.ts';
import { ROUTE_CLASSES } from '../../coordinator/domain/route-classes.ts';
import { routeOf } from '../../coordinator/domain/routing.ts';
import { OPERATIONS, operationOf } from '../support/openapi.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(`${ROOT}/docs/lifecycle.md`, 'utf8');

test('lifecycle.md is what "npm run docs" writes', () => {
  const fresh = execFileSync(process.execPath, [`${ROOT}/deploy/docs.mjs`, '--print'], { encoding: 'utf8' });
  if (fresh !== page) throw new Error('docs/lifecycle.md is stale: run "npm run docs" and commit the page');
});

test('every state of a daemon has its table', () => {
  const headings = [...page.matchAll(/^### In `(\w+)`$/gm)].map(([, state]) => state);
  expect(headings).toEqual(STATES);
});

test('every operation of the API has a class, and every class only operations of the API', () => {
  const known = (method: string, path: string) =>
    routeOf(method.toUpperCase(), path, undefined) !== 'unknown';
  expect(OPERATIONS.filter(({ method, path }) => !known(method, path.replaceAll(/[{}]/g, '')))).toEqual([]);
  const routes = Object.values(ROUTE_CLASSES).flatMap((spec): readonly string[] => spec.routes);
  const named = routes.filter((route) => !route.includes('*')).map((route) => route.split(' '));
  for (const [method = '', path = ''] of named) expect(() => operationOf(method, path)).not.toThrow();
});

test('every route of the table is printed', () => {
  const routes = Object.values(ROUTE_CLASSES).flatMap((spec): readonly string[] => spec.routes);
  expect(routes.filter((route) => !page.includes(`\`${route}\``))).toEqual([]);
});
