// Every route by which a client changes something is named in the coordinator's table of route classes. One that is
// forgotten there would fall to the catch-all of sessions, and answer 404 for a session that sleeps.
import { describe, expect, test } from '@jest/globals';
import { ROUTE_CLASSES, type RouteClass } from '../../coordinator/domain/route-classes.ts';
import { routeOf } from '../../coordinator/domain/routing.ts';
import { CLIENT_ROUTES, type RouteRow } from '../../daemon/http/routes.ts';

type Row = Pick<RouteRow, 'method' | 'path'>;

/** The names of the parameters are each side's own. */
const unnamed = (pattern: string) => pattern.replaceAll(/:\w+/g, ':');

/** `METHOD /pattern` -> class, without the catch-alls. */
const NAMED: ReadonlyMap<string, RouteClass> = new Map(
  Object.entries(ROUTE_CLASSES).flatMap(([name, { routes }]) =>
    routes
      .filter((route) => !route.includes('*'))
      .map((route) => [unnamed(route), name as RouteClass] as const),
  ),
);

const isChange = ({ method }: Row) => method !== 'get';
const patternOf = ({ method, path }: Row) => `${method.toUpperCase()} ${path}`;
const classOf = (row: Row) => NAMED.get(unnamed(patternOf(row)));

/** Changes that no route class names. */
function forgotten(rows: readonly Row[]): string[] {
  return rows
    .filter(isChange)
    .filter((row) => classOf(row) === undefined)
    .map(patternOf);
}

/** Changes that the coordinator's router takes for another class than the one that names them. */
function misrouted(rows: readonly Row[]): string[] {
  return rows.filter(isChange).flatMap((row) => {
    const routing = routeOf(row.method.toUpperCase(), row.path.replaceAll(/:\w+/g, 'a-1'), undefined);
    const found = typeof routing === 'string' ? routing : routing.class;
    return found === classOf(row) ? [] : [`${patternOf(row)} is routed as ${found}`];
  });
}

describe("the daemon's table of client routes", () => {
  test('has its changes of a session, so that there is something to judge', () => {
    const changes = CLIENT_ROUTES.filter(isChange).map(patternOf);
    expect(changes).toEqual(
      expect.arrayContaining([
        'POST /session/:id/prompt',
        'DELETE /session/:id',
        'PATCH /session/:id/metadata',
      ]),
    );
  });

  test('has no change that the table of route classes forgets', () => {
    expect(forgotten(CLIENT_ROUTES)).toEqual([]);
  });

  test('has no change that goes to another class than the one that names it', () => {
    expect(misrouted(CLIENT_ROUTES)).toEqual([]);
  });

  test('would be found out with a change that is named nowhere', () => {
    const added: Row = { method: 'post', path: '/session/:id/summarise' };
    expect(forgotten([added])).toEqual(['POST /session/:id/summarise']);
  });
});
