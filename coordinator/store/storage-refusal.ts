// Tells errors of the database from other errors, and damage of the database from failures that pass. Pure.
import { ApiError } from '../../daemon/contract/errors.ts';
import { isCorruptionCode } from './integrity.ts';

/** Whether the error is a refusal by the database (ApiError 507 `storage_unavailable`). */
export function isStorageRefusal(error: unknown): boolean {
  return error instanceof ApiError && error.code === 'storage_unavailable';
}

/**
 * Whether the database refused because its file is damaged. Unlike a full disk, damage lasts until the next start of the
 * coordinator, so no request can wait for its end.
 */
export function isDamageRefusal(error: unknown): boolean {
  return error instanceof ApiError && isCorruptionCode(error.context.sqliteCode);
}
