// docs/lifecycle.md is made from the tables that the code runs by, and is never older than they are.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { STATES } from '../../coordinator/domain/daemon-state.ts';
import { ROUTE_CLASSES } from '../../coordinator/domain/route-classes.ts';

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

test('every route of the table is printed', () => {
  const routes = Object.values(ROUTE_CLASSES).flatMap((spec): readonly string[] => spec.routes);
  expect(routes.filter((route) => !page.includes(`\`${route}\``))).toEqual([]);
});
