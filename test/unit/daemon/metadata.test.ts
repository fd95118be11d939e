import { describe, expect, test } from '@jest/globals';
import { ApiError } from '../../../daemon/contract/errors.ts';
import {
  parseMetadataPatch,
  withBoundPullRequest,
  withPullRequest,
} from '../../../daemon/domain/metadata.ts';

function refusalOf(body: Record<string, unknown>): unknown {
  try {
    return parseMetadataPatch(body);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { status: error.status, code: error.code, ...error.context };
  }
}

const PR = { number: 7, url: 'https://example.org/pr/7' };

describe('a patch', () => {
  test('of nothing changes nothing, and unknown fields are nothing', () => {
    expect(parseMetadataPatch({})).toEqual({});
    expect(parseMetadataPatch({ colour: 'green' })).toEqual({});
  });

  test('takes a name as it is, cut to 256 units', () => {
    expect(parseMetadataPatch({ displayName: ' a name ' })).toEqual({ displayName: ' a name ' });
    expect(parseMetadataPatch({ displayName: 'x'.repeat(300) }).displayName).toHaveLength(256);
    expect(parseMetadataPatch({ displayName: '😀'.repeat(200) }).displayName).toHaveLength(256);
  });

  test.each([[''], ['  '], ['\u2003'], ['a\nb'], ['a\u0000b'], ['a\u009bb'], [7], [null], [['a']], [{}]])(
    'refuses the name %j',
    (displayName) =>
      expect(refusalOf({ displayName })).toEqual({
        status: 400,
        code: 'invalid_metadata',
        field: 'displayName',
      }),
  );

  test('takes a pull request, known fields only', () => {
    expect(parseMetadataPatch({ pr: { ...PR, state: 'open', extra: 1 } })).toEqual({
      pr: { ...PR, state: 'open' },
    });
  });

  test.each([
    ['pr', 'text'],
    ['pr', null],
    ['pr', []],
    ['pr.number', { ...PR, number: 0 }],
    ['pr.number', { ...PR, number: 1.5 }],
    ['pr.number', { ...PR, number: '7' }],
    ['pr.url', { ...PR, url: 'javascript:alert(1)' }],
    ['pr.url', { ...PR, url: 'not a url' }],
    ['pr.url', { ...PR, url: 'https://example.org/\npr' }],
    ['pr.url', { ...PR, url: `https://example.org/${'x'.repeat(2048)}` }],
    ['pr.state', { ...PR, state: 7 }],
  ])('refuses %s of %j', (field, pr) => expect(refusalOf({ pr })).toMatchObject({ status: 400, field }));
});

test('a pull request that is known is replaced, another one is added', () => {
  const known = withPullRequest([], PR);
  expect(withPullRequest(known, { ...PR, state: 'merged' })).toEqual([{ ...PR, state: 'merged' }]);
  expect(withPullRequest(known, { ...PR, number: 8 })).toHaveLength(2);
  expect(withPullRequest(known, { ...PR, url: 'https://example.org/other/7' })).toHaveLength(2);
});

test('a pull request that the agent binds is added once, and nothing that is no pull request', () => {
  const known = withPullRequest([], { ...PR, state: 'merged' });
  expect(withBoundPullRequest(known, PR)).toBe(known);
  expect(withBoundPullRequest(known, { ...PR, number: 8, title: 'x' })).toEqual([
    ...known,
    { ...PR, number: 8 },
  ]);
  for (const said of [{}, { ...PR, number: 0 }, { ...PR, url: 'ftp://example.org' }])
    expect(withBoundPullRequest(known, said)).toBeUndefined();
});
