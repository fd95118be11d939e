// The git checkout that a create body asks for: a new branch in the workspace, or a new worktree below the workspace.
import { fail } from '../contract/errors.ts';
import type { JsonObject } from '../contract/json-body.ts';
import { isRecord } from '../contract/json-record.ts';
import { truncated } from '../contract/log.ts';

export type CheckoutRequest =
  | { readonly kind: 'branch'; readonly name: string }
  /** If `slug` is undefined, the daemon makes one up. */
  | { readonly kind: 'worktree'; readonly slug: string | undefined };

/** The branch or worktree that was made for a session, as listings show it; empty for a session without its own checkout. */
export interface SessionCheckout {
  readonly branch?: { readonly name: string; readonly baseBranch: string };
  readonly worktree?: { readonly slug: string; readonly path: string; readonly branch: string };
}

const MAX_BRANCH_BYTES = 1000;
const MAX_BRANCH_PART_BYTES = 200;
const MAX_SLUG_CHARS = 64;

/**
 * Parses `branch` and `worktree` of a create body; undefined when the body has neither.
 * @throws ApiError 400; the order of the checks decides which code.
 */
export function parseCheckout({ branch, worktree }: JsonObject): CheckoutRequest | undefined {
  const wantsBranch = branch !== undefined && branch !== null;
  const wantsWorktree = worktree !== undefined && worktree !== null;
  if (wantsBranch && wantsWorktree)
    throw fail('branch_and_worktree_conflict', '`worktree` and `branch` exclude each other');
  if (wantsBranch) return { kind: 'branch', name: parseBranchName(branch) };
  return wantsWorktree ? { kind: 'worktree', slug: parseSlug(worktree) } : undefined;
}

function parseBranchName(branch: unknown): string {
  if (!isRecord(branch)) throw fail('invalid_branch', '`branch` must be an object with a `name`');
  const { name } = branch;
  if (typeof name !== 'string' || name === '')
    throw fail('branch_invalid_name', '`branch.name` must be a non-empty string');
  if (!isBranchName(name))
    throw fail('branch_invalid_name', `\`branch.name\` is not a valid branch name: ${truncated(name)}`);
  return name;
}

/** The rules of `git check-ref-format`, and no characters but letters, digits and `._/-`. */
function isBranchName(name: string): boolean {
  const parts = name.split('/');
  return (
    /^[\p{L}\p{N}._/-]+$/u.test(name) &&
    !name.includes('..') &&
    !name.startsWith('-') &&
    !name.endsWith('.') &&
    !name.endsWith('.git') &&
    name.toUpperCase() !== 'HEAD' &&
    Buffer.byteLength(name) <= MAX_BRANCH_BYTES &&
    parts.every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock')) &&
    parts.every((part) => Buffer.byteLength(part) <= MAX_BRANCH_PART_BYTES)
  );
}

function parseSlug(worktree: unknown): string | undefined {
  if (!isRecord(worktree)) throw fail('invalid_worktree', '`worktree` must be an object');
  const { slug } = worktree;
  if (slug === undefined || slug === null) return undefined;
  const why = typeof slug === 'string' ? slugProblem(slug) : 'must be a string';
  if (why !== undefined) throw fail('worktree_invalid_slug', `\`worktree.slug\` ${why}`);
  return slug as string;
}

/**
 * Why a slug is refused, as text that continues "`worktree.slug` ..."; undefined for a valid slug. Forms that the qwen agent
 * uses for its own worktrees are refused too.
 */
function slugProblem(slug: string): string | undefined {
  if (slug === '' || slug.length > MAX_SLUG_CHARS) return `must have 1 to ${MAX_SLUG_CHARS} characters`;
  if (!/^[A-Za-z0-9._-]+$/.test(slug))
    return 'must consist of letters, digits, dots, underscores and hyphens';
  if (/^[.-]|\.\./.test(slug)) return 'must not start with a dot or a hyphen, nor contain two dots in a row';
  if (/^pr-[1-9]\d{0,8}$/.test(slug) || slug.startsWith('agent-')) return 'has a reserved form';
  return undefined;
}
