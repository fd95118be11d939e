// Handler of the API description.
import type { Handler } from '../call.ts';
import type { RouteContext } from '../route-context.ts';

/** `GET /openapi.json`: the OpenAPI document that is part of the package. */
export function openapi({ apiDocument }: Pick<RouteContext, 'apiDocument'>): Handler {
  return async () => ({
    status: 200,
    headers: { 'Content-Type': 'application/json; charset=utf-8' },
    body: await apiDocument.bytes(),
  });
}
