import { describe, expect, test } from '@jest/globals';
import { matchWorkspace, primaryFirst, registrationRefusal } from '../../../coordinator/domain/workspace.ts';
import { MAX_REGISTERED_WORKSPACES } from '../../../daemon/contract/capabilities.ts';

const a = { id: 'a', path: '/projects/a' };
const b = { id: 'b', path: '/srv/b' };
const full = Array.from({ length: MAX_REGISTERED_WORKSPACES }, (_, n) => ({
  id: `w${n}`,
  path: `/full/${n}`,
}));

describe('the place of a path', () => {
  test('is the workspace that is registered exactly there', () => {
    expect(matchWorkspace('/srv/b', [a, b], [])).toEqual({ kind: 'registered', workspace: b });
  });

  test('is nowhere for a sub-directory of a registered workspace', () => {
    expect(matchWorkspace('/projects/a/src', [a], [])).toMatchObject({
      kind: 'refused',
      refusal: {
        code: 'workspace_mismatch',
        context: { boundWorkspace: '/projects/a', requestedWorkspace: '/projects/a/src' },
      },
    });
  });

  test('counts the workspaces in the mismatch only when there are several', () => {
    expect(matchWorkspace('/x', [a, b], [])).toMatchObject({ refusal: { context: { workspaceCount: 2 } } });
    expect(matchWorkspace('/x', [a], [])).not.toHaveProperty('refusal.context.workspaceCount');
  });

  test('is a new workspace within a root, the root itself included', () => {
    expect(matchWorkspace('/home/me/new', [a], ['/home/me'])).toEqual({
      kind: 'first_demand',
      path: '/home/me/new',
    });
    expect(matchWorkspace('/home/me', [a], ['/home/me'])).toEqual({ kind: 'first_demand', path: '/home/me' });
    expect(matchWorkspace('/anything', [a], ['/'])).toEqual({ kind: 'first_demand', path: '/anything' });
  });

  test('is not within a root that merely begins with the same letters', () => {
    expect(matchWorkspace('/home/meadow', [a], ['/home/me']).kind).toBe('refused');
  });

  test('is refused under a root once the registry is full', () => {
    expect(matchWorkspace('/home/new', full, ['/home'])).toMatchObject({
      refusal: { code: 'workspace_limit_reached', context: { limit: 256, used: 256 } },
    });
  });
});

describe('an explicit registration', () => {
  test('of a free path is allowed', () => {
    expect(registrationRefusal('/projects/ab', [a, b])).toBeUndefined();
  });

  test('of a registered path is refused', () => {
    expect(registrationRefusal('/projects/a', [a])?.code).toBe('workspace_exists');
  });

  test('inside a registered workspace, or around one, is refused', () => {
    expect(registrationRefusal('/projects/a/src', [a])?.code).toBe('workspace_nested');
    expect(registrationRefusal('/projects', [a])?.code).toBe('workspace_nested');
    expect(registrationRefusal('/', [a])?.code).toBe('workspace_nested');
    expect(registrationRefusal('/projects/a/src', [a])?.message).toContain(
      '/src is nested in the registered',
    );
    expect(registrationRefusal('/projects', [a])?.message).toContain('/projects contains the registered');
  });

  test('beyond the most there may be is refused', () => {
    expect(registrationRefusal('/more', full)?.code).toBe('workspace_limit_reached');
  });
});

test('the primary workspace comes first and the others keep their order', () => {
  const c = { id: 'c', path: '/c' };
  expect(primaryFirst([a, b, c], 'b')).toEqual([b, a, c]);
  expect(primaryFirst([a, b], undefined)).toEqual([a, b]);
});
