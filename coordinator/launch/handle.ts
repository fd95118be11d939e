// Launch handles as text: a JSON object with the kind of the launcher, the version of the other members, and these members. A
// launcher reads only handles of its kind. For any other the error says what to do, because its daemon must not be started again.
import { truncated } from '../../daemon/contract/log.ts';
import type { LaunchHandle } from './launcher.ts';

/** A launch handle that this launcher cannot read. The message says which launcher wrote the handle and what to do. */
export class ForeignHandle extends Error {}

/** What a message quotes of a handle that cannot be read. */
const MAX_QUOTED_CHARS = 300;

/** The members of a launch handle that the launcher of its kind defines. */
export type HandleBody = Readonly<Record<string, unknown>>;

export function writeHandle(kind: string, version: number, body: HandleBody): LaunchHandle {
  return JSON.stringify({ kind, version, ...body });
}

/**
 * Reads a launch handle: the body that `writeHandle` was given, with kind and version.
 * @throws ForeignHandle when the handle is no JSON object, of another kind, or of a version above `version`.
 */
export function readHandle(handle: LaunchHandle, kind: string, version: number): HandleBody {
  const body = parsed(handle);
  if (typeof body?.kind !== 'string' || typeof body.version !== 'number')
    throw new ForeignHandle(
      `its launch handle cannot be read (${quotedHandle(handle)}): put a backup of the database in place of this one`,
    );
  if (body.kind !== kind)
    throw new ForeignHandle(
      `the launcher "${body.kind}" (handle version ${body.version}) started it, and this coordinator uses "${kind}": ` +
        `start the coordinator with "${body.kind}" once more and stop the daemon there`,
    );
  if (body.version > version)
    throw new ForeignHandle(
      `the launcher "${kind}" of a newer release started it (handle version ${body.version}, this release reads ${version}): ` +
        'start that release once more and stop the daemon there',
    );
  return body;
}

/** The handle for a message; a damaged one may be as long as it likes. */
export function quotedHandle(handle: LaunchHandle): string {
  return truncated(handle, MAX_QUOTED_CHARS);
}

function parsed(handle: LaunchHandle): HandleBody | undefined {
  try {
    const value: unknown = JSON.parse(handle);
    return typeof value === 'object' && value !== null ? (value as HandleBody) : undefined;
  } catch {
    // No launcher wrote this text: `readHandle` throws the error for it.
    return undefined;
  }
}
