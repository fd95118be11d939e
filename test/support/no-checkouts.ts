// Checkouts where no git is: what asks for one is refused.
import type { Checkouts } from '../../daemon/checkouts/checkouts.ts';
import { fail } from '../../daemon/contract/errors.ts';

export const NO_CHECKOUTS: Pick<Checkouts, 'around'> = {
  around: ({ kind }) =>
    Promise.reject(fail(kind === 'branch' ? 'branch_not_git_repo' : 'worktree_not_git_repo', 'no git here')),
};
