// The API description of this build.
import type { Handler } from '../call.ts';
import type { RouteContext } from '../route-context.ts';

/** `GET /openapi.json`. */
export function openapi({ apiDocument }: Pick<RouteContext, 'apiDocument'>): Handler {
  return async () => ({
    status: 200,
    headers: { 'Content-Type': 'application/json; charset=utf-8' },
    body: await apiDocument.bytes(),
  });
}
