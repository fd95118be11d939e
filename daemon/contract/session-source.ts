// The source of a session: the type and id with which its creator says what it was made for. Checked by the same rule when a
// session is made and when a listing filters by source.
import { fail } from './errors.ts';

export interface SessionSource {
  readonly sourceType?: string;
  readonly sourceId?: string;
}

const SOURCE_TYPE = /^[a-z][a-z0-9_-]{0,63}$/;
const MAX_SOURCE_ID_UNITS = 256;

/**
 * Checks a source; `{}` when neither field is given. A `sourceId` without a `sourceType` is refused: it identifies nothing.
 * @throws ApiError 400 `invalid_session_source`.
 */
export function parseSessionSource({
  sourceType,
  sourceId,
}: Readonly<Record<'sourceType' | 'sourceId', unknown>>): SessionSource {
  if (sourceType === undefined && sourceId === undefined) return {};
  if (typeof sourceType !== 'string' || !SOURCE_TYPE.test(sourceType))
    throw fail('invalid_session_source', `\`sourceType\` must match ${SOURCE_TYPE.source}`);
  if (sourceId === undefined) return { sourceType };
  if (!isSourceId(sourceId))
    throw fail(
      'invalid_session_source',
      `\`sourceId\` must be 1 to ${MAX_SOURCE_ID_UNITS} characters, none of them a control character`,
    );
  return { sourceType, sourceId };
}

function isSourceId(value: unknown): value is string {
  return (
    typeof value === 'string' && value !== '' && value.length <= MAX_SOURCE_ID_UNITS && !/\p{Cc}/u.test(value)
  );
}
