import { tmpdir } from 'node:os';
import { expect, test } from '@jest/globals';
import { Checkouts } from '../../../daemon/checkouts/checkouts.ts';
import type { CheckoutRequest } from '../../../daemon/domain/checkout-request.ts';
import { SILENT } from '../../support/session-parts.ts';

test.each<[CheckoutRequest, string]>([
  [{ kind: 'worktree', slug: 'a' }, 'worktree_init_failed'],
  [{ kind: 'branch', name: 'a' }, 'branch_init_failed'],
])('where there is no git, %j says so', async (request, code) => {
  const env = { PATH: '/nonexistent' };
  const checkouts = new Checkouts({ workspace: tmpdir(), env, sessions: { all: () => [] }, log: SILENT });
  await expect(checkouts.around(request, async () => undefined)).rejects.toMatchObject({ status: 500, code });
});
