// The supported versions of Node, held against package.json's `engines`.
import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { isSupportedNode } from '../../../coordinator/domain/node-version.ts';

test.each([
  ['18.20.8', false],
  ['20.18.3', false],
  ['20.19.0', true],
  ['20.20.2', true],
  ['21.7.3', false],
  ['22.13.1', false],
  ['22.14.0', true],
  ['23.5.0', false],
  ['23.6.0', true],
  ['24.0.0', true],
  ['100.0.0', true],
])('Node %s: %s', (version, isSupported) => {
  expect(isSupportedNode(version)).toBe(isSupported);
});

test('package.json asks npm for the same', () => {
  const path = new URL('../../../package.json', import.meta.url);
  const { engines } = JSON.parse(readFileSync(path, 'utf8')) as { engines: { node: string } };
  expect(engines.node).toBe('>=20.19 <21 || >=22.14 <23 || >=23.6');
});
